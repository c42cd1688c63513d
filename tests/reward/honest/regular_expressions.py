import re

text = input()
print(re.findall(r"\b(\w+)@(\w+)\.com\b", text))
print(re.sub(r"(?P<d>\d+)", lambda m: str(int(m["d"]) * 2), text), re.split(r"[;,]\s*", "a, b;c"))
print(bool(re.fullmatch(r"(?i)[A-F0-9]{4}", "beEf")))
