import threading

total, lock = 0, threading.Lock()


def work(k):
    global total
    for _ in range(1000):
        with lock:
            total += k


threads = [threading.Thread(target=work, args=(k,)) for k in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(total)
