"""Prints the rows of a CSV file as parsed by the csv module of Python: FILE NULL NAME=TYPE...

Each line is a row with the named columns in this order, separated by unit separators. Timestamps have microseconds,
and null is \\N.
"""

import csv
import sys
from datetime import datetime


def text(kind: str, cell: str) -> str:
    if kind == "integer":
        return str(int(cell))
    if kind == "timestamp":
        return datetime.fromisoformat(cell).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return cell


path, null, *columns = sys.argv[1:]
types = dict(column.split("=") for column in columns)
with open(path, newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        cells = ("\\N" if row[name] == null else text(kind, row[name]) for name, kind in types.items())
        print("\x1f".join(cells))
