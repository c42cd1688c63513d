import abc, array, base64, calendar, contextlib, copy, csv, datetime, difflib, enum, hashlib, inspect, operator, pprint, re, secrets, string, struct, textwrap, time, types, typing, unicodedata, uuid, zlib
print(array.array('i', [1, 2]).tolist(), hashlib.md5(b'x').hexdigest(), calendar.monthrange(2024, 2), re.findall(r'\d+', 'a1b22'))
