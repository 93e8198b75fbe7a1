"""dlt: a resource of data frames, write disposition merge, strategy upsert."""

import os
import sys
import time

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
import pandas

path, url, table = sys.argv[1:]
dataset, table = table.split(".")
start = time.perf_counter()


@dlt.resource(
    name=table,
    primary_key="sku",
    write_disposition={"disposition": "merge", "strategy": "upsert"},
)
def products():
    frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
    yield frame.drop_duplicates("sku", keep="last")


pipeline = dlt.pipeline(
    pipeline_name="products",
    pipelines_dir=os.path.abspath("dlt"),
    destination=dlt.destinations.postgres(url.replace("postgres://", "postgresql://", 1)),
    dataset_name=dataset,
)
pipeline.run(products()).raise_on_failed_jobs()
print(time.perf_counter() - start)
