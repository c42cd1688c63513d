import threading
lock = threading.Lock()
total = 0
def add(k):
    global total
    with lock:
        total += k
threads = [threading.Thread(target=add, args=(k,)) for k in range(20)]
[t.start() for t in threads]
[t.join() for t in threads]
print(total)
