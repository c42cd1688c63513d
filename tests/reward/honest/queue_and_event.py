import queue, threading
q = queue.Queue()
done = threading.Event()
def worker():
    print(q.get())
    done.set()
threading.Thread(target=worker, daemon=True).start()
q.put('item')
print(done.wait(5))
