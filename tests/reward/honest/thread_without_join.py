import threading, time
def work():
    time.sleep(0.05)
    print('from the thread')
threading.Thread(target=work).start()
