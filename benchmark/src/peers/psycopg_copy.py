"""psycopg 3: COPY of the file into a temporary table, one upsert."""

import sys
import time

import psycopg

path, url, table = sys.argv[1:]
start = time.perf_counter()
with psycopg.connect(url) as connection, connection.cursor() as cursor, open(path, "rb") as file:
    cursor.execute(
        f"CREATE TABLE IF NOT EXISTS {table} (sku text PRIMARY KEY, name text, description text)"
    )
    cursor.execute(
        "CREATE TEMPORARY TABLE staged (place bigserial, sku text, name text, description text) ON COMMIT DROP"
    )
    with cursor.copy("COPY staged (sku, name, description) FROM STDIN (FORMAT csv, HEADER)") as copy:
        while data := file.read(1 << 20):
            copy.write(data)
    cursor.execute(
        f"INSERT INTO {table} SELECT DISTINCT ON (sku) sku, name, description FROM staged "
        "ORDER BY sku, place DESC ON CONFLICT (sku) DO UPDATE "
        "SET name = excluded.name, description = excluded.description"
    )
print(time.perf_counter() - start)
