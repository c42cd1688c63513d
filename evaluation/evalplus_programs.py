"""The two programs that judge a model's program for HumanEval or MBPP, each in a sandbox process of its own.

The first runs the model's program and the test program, and notes what the function gave at each call. This note is all
that leaves its process. `CHECKER` runs the test program again with the noted results in the function's place. Only
there do assertions decide, and nothing of the model's runs there: so a program passes by its results and nothing else.

Results cross as plain values: what is derived from a plain type becomes that type, an iterator its first elements, and
anything else, such as a function or an instance, an object that equals only itself. The checker's unpickler knows types
that cannot be changed, and nothing else.
"""

_PLAIN = "(int, float, complex, str, bytes, bytearray, tuple, list, set, frozenset, dict, collections.deque)"

_RECORDER = f"""\
import base64, collections.abc, io, itertools, json, pickle, random, sys, types

PLAIN = {_PLAIN}

class Note(pickle.Pickler):
    def reducer_override(self, value):
        if type(value) in PLAIN or isinstance(value, type) and value in (*PLAIN, object):
            return NotImplemented
        if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
            value = value.item()
        kind = next((kind for kind in PLAIN if isinstance(value, kind)), None)
        return (object, ()) if kind is None else (kind, (kind(value),))

def noted(value):
    try:
        file = io.BytesIO()
        Note(file, 4).dump(value)
        return file.getvalue()
    except Exception:
        return pickle.dumps(object(), 4)

def record(code):
    given, out = json.load(sys.stdin), sys.stdout
    sys.stdin, sys.stdout = io.StringIO(), io.StringIO()
    name, calls = given["name"], []
    module = sys.modules["solution"] = types.ModuleType("solution")
    exec(compile(given["preamble"], "prompt.py", "exec", dont_inherit=True), vars(module))
    vars(module).pop(name, None)
    exec(compile(code, "solution.py", "exec", dont_inherit=True), vars(module))
    function = getattr(module, name)

    def call(*args, **named):
        before, state = noted(args), random.getstate()
        try:
            result = function(*args, **named)
        except Exception as error:
            calls.append(("error", noted((type(error).__name__, str(error))), None))
            raise
        finally:
            random.setstate(state)  # what the test draws must not depend on what the function drew
        is_iterator = isinstance(result, collections.abc.Iterator)
        if is_iterator:
            result = list(itertools.islice(result, 100_000))
        after = noted(args)
        calls.append(("iterator" if is_iterator else "value", noted(result), None if after == before else after))
        return iter(result) if is_iterator else result

    random.seed(0)
    try:
        names = {{**vars(module), "__name__": "test", name: call}}
        exec(compile(given["test"], "test.py", "exec", dont_inherit=True), names)
    except AssertionError:
        pass
    out.write("\\n" + base64.b64encode(noted(calls)).decode())
    out.flush()
"""

CHECKER = f"""\
import base64, builtins, collections, io, json, pickle, random, sys

TYPES = {{kind.__name__: kind for kind in (*{_PLAIN}, object)}}

class Plain(pickle.Unpickler):
    def find_class(self, module, name):
        return TYPES[name]

def read(data):
    return Plain(io.BytesIO(data)).load()

def check(given, note):
    def replay(*args, **named):
        outcome, value, changed = next(calls)
        value = read(value)
        if outcome == "error":
            raise getattr(builtins, value[0], Exception)(value[1])
        for ours, theirs in zip(args, read(changed) if changed else ()):
            if type(ours) in (list, dict, set):
                ours.clear()
                (ours.extend if type(ours) is list else ours.update)(theirs)
        return iter(value) if outcome == "iterator" else value

    calls = iter(read(base64.b64decode(note)))
    names = {{"__name__": "solution"}}
    exec(compile(given["preamble"], "prompt.py", "exec", dont_inherit=True), names)
    random.seed(0)
    names[given["name"]] = replay
    exec(compile(given["test"], "test.py", "exec", dont_inherit=True), names)

sizes = [int(size) for size in sys.stdin.buffer.readline().split()]
given, note, _ = (sys.stdin.buffer.read(size) for size in sizes)
out, sys.stdout, answer = sys.stdout, io.StringIO(), "refuse"
try:
    check(json.loads(given), note.rpartition(b"\\n")[2])
    answer = "accept"
except BaseException:
    pass
out.write(answer)
out.flush()
"""


def recorder(code: str) -> str:
    """The program that runs `code` and a test program from standard input, and prints the note for `CHECKER`."""
    return f"{_RECORDER}\nrecord({code!r})\n"
