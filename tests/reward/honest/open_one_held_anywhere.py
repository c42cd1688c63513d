class Output:
    def __init__(self):
        self.stream = open(1, 'w', closefd=False)
held = Output()
held.stream.write('in an attribute\n')
held.stream.flush()
streams = [open(1, 'w', closefd=False)]
streams[0].write('in a list\n')
