log = []
class Noisy:
    def __init__(self, name):
        self.name = name
    def __del__(self):
        log.append(self.name)
        print(self.name, len(log))
kept = {1: Noisy('first'), 2: [Noisy('second')]}
print('end')
