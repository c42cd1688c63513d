try:
    raise ExceptionGroup("several", [ValueError("a"), KeyError("b"), ValueError("c")])
except* ValueError as group:
    print([str(e) for e in group.exceptions])
except* KeyError as group:
    print(len(group.exceptions))
