from datetime import date, datetime, timedelta
import calendar

print(date(2024, 2, 28) + timedelta(days=2), (date(2026, 1, 1) - date(2025, 3, 1)).days)
print(datetime(2020, 5, 17, 12, 30).strftime("%Y/%m/%d %H:%M %A"), calendar.monthrange(2023, 2), calendar.isleap(2000))
