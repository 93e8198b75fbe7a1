"""dlt: its rest_api source, with files that are loaded by COPY, and a process for each core."""

import os
import sys
import time

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
os.environ["NORMALIZE__WORKERS"] = str(os.cpu_count())
# Without it, there is one file, which one process normalizes.
os.environ["DATA_WRITER__FILE_MAX_ITEMS"] = "100000"

import dlt
from dlt.sources.rest_api import rest_api_source

DISPOSITIONS = {
    "append": "append",
    "upsert": {"disposition": "merge", "strategy": "upsert"},
}


def main():
    pages, url, table, disposition = sys.argv[1:]
    dataset, table = table.split(".")
    base, path = pages.rsplit("/", 1)
    start = time.perf_counter()
    source = rest_api_source(
        {
            "client": {
                "base_url": base,
                "paginator": {"type": "cursor", "cursor_path": "next", "cursor_param": "page"},
            },
            "resources": [
                {
                    "name": table,
                    "primary_key": "sku",
                    "write_disposition": DISPOSITIONS[disposition],
                    "endpoint": {"path": path, "data_selector": "records"},
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        pipeline_name=f"products_{disposition}",
        pipelines_dir=os.path.abspath("dlt"),
        destination=dlt.destinations.postgres(url.replace("postgres://", "postgresql://", 1)),
        dataset_name=dataset,
    )
    pipeline.run(source, loader_file_format="csv").raise_on_failed_jobs()
    print(time.perf_counter() - start)


# Processes of the pool import this file.
if __name__ == "__main__":
    main()
