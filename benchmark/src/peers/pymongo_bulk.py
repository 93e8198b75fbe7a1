"""pymongo: bulk_write of upserts, 1,000 at a time, from one client."""

import csv
import itertools
import sys
import time

import pymongo

path, uri, collection = sys.argv[1:]
start = time.perf_counter()
collection = pymongo.MongoClient(uri).get_default_database()[collection]
with open(path, newline="", encoding="utf-8") as file:
    rows = iter(csv.DictReader(file))
    while batch := list(itertools.islice(rows, 1000)):
        # The last row of a key counts: ordered, so that it comes last.
        collection.bulk_write(
            [pymongo.ReplaceOne({"_id": row.pop("sku")}, row, upsert=True) for row in batch],
            ordered=True,
        )
print(time.perf_counter() - start)
