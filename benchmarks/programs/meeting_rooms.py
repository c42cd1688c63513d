# The most meetings in one room, and the fewest rooms for all of them.
from dataclasses import dataclass


@dataclass
class Meeting:
    start: int
    end: int


meetings = []
for _ in range(int(input())):
    start, end = map(int, input().split())
    meetings.append(Meeting(start, end))
meetings.sort(key=lambda meeting: (meeting.end, meeting.start))
attended = free_from = 0
for meeting in meetings:
    if meeting.start >= free_from:
        attended += 1
        free_from = meeting.end
events = sorted([(meeting.start, 1) for meeting in meetings] + [(meeting.end, -1) for meeting in meetings])
rooms = most = 0
for _, change in events:
    rooms += change
    most = max(most, rooms)
print(attended, most)
