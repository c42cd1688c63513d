import json

record = json.loads(input())
record["sum"] = sum(record["values"])
print(json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
