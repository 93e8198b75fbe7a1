"""pandas: read_csv, drop_duplicates, to_sql with an upsert as its method."""

import sys
import time

import pandas
import sqlalchemy
from sqlalchemy.dialects.postgresql import insert

path, url, table = sys.argv[1:]


def upsert(target, connection, keys, rows):
    statement = insert(target.table).values([dict(zip(keys, row)) for row in rows])
    columns = {key: statement.excluded[key] for key in keys if key != "sku"}
    connection.execute(statement.on_conflict_do_update(index_elements=["sku"], set_=columns))


start = time.perf_counter()
engine = sqlalchemy.create_engine(url.replace("postgres://", "postgresql+psycopg://", 1))
with engine.begin() as connection:
    connection.execute(
        sqlalchemy.text(
            f"CREATE TABLE IF NOT EXISTS {table} (sku text PRIMARY KEY, name text, description text)"
        )
    )
    frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
    frame = frame.drop_duplicates("sku", keep="last")
    frame.to_sql(table, connection, if_exists="append", index=False, method=upsert, chunksize=2000)
print(time.perf_counter() - start)
