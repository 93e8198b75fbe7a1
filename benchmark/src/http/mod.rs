//! The HTTP API under load: pages of rows, compared with the database alone.

mod standalone;
mod tools;

use anyhow::{Context, Result, ensure};
use landfall_local::{Build, Lines, Progress, Sql, Stack, StackOptions, Stores};
use reqwest::header::{ETAG, HeaderValue};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use sqlx::Executor;

use crate::Plan;
use crate::data::Sample;
use crate::debian::install;
use crate::landfall::Landfall;
use crate::profile::wait_until_idle;
use crate::result::{LoadRun, Part, as_float};
use crate::tables::{Database, postgres};
use standalone::StandaloneApi;

const DATASET: &str = "products";
const ROWS: u64 = 1_000_000;
const PAGE: &str = "datasets/products/rows?limit=50";
/// On AWS, an instance of a function serves one connection at a time.
const CONNECTIONS: [usize; 2] = [1, 16];
const SECONDS: u64 = 5;
const QUICK_SECONDS: u64 = 1;
/// Above any load here, so that the rate limit has no effect.
const UNLIMITED: &str = "1000000";

/// The API's own statements for a page. They read one row more, which shows whether there is a next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statement {
    FirstPage,
    FromRandomKey,
}

impl Statement {
    const ALL: [Self; 2] = [Self::FirstPage, Self::FromRandomKey];

    fn name(self) -> &'static str {
        match self {
            Self::FirstPage => "SELECT, first page",
            Self::FromRandomKey => "SELECT, from a random key on",
        }
    }

    /// Returns the statement as a script for pgbench.
    fn sql(self) -> &'static str {
        match self {
            Self::FirstPage => {
                "SELECT sku, name, description, _extra::text FROM products ORDER BY sku LIMIT 51;\n"
            }
            Self::FromRandomKey => {
                "\\set number random(0, 4294967295)\n\
                 SELECT sku, name, description, _extra::text FROM products \
                 WHERE sku >= lpad(upper(to_hex(:number::bigint)), 8, '0') ORDER BY sku LIMIT 51;\n"
            }
        }
    }
}

/// A request to the API.
struct RequestSpec {
    name: &'static str,
    path: &'static str,
    header: Option<(&'static str, String)>,
    /// The expected status.
    status: StatusCode,
    /// The statement that it causes, if any.
    statement: Option<Statement>,
}

/// A server under test.
struct Server<'a> {
    name: &'static str,
    what: &'static str,
    url: &'a str,
}

pub(crate) async fn measure(plan: &Plan, progress: &Lines) -> Result<Part> {
    let mut part = plan.part("http", "HTTP API, pages of 50 rows");
    ensure!(
        install("wrk", progress).await?,
        "wrk is missing: apt-get install -y wrk"
    );
    let options = StackOptions {
        stores: Stores::Sql,
        sql: Sql::Postgres,
        parameters: ["TokenRequestsPerSecond", "RequestsPerSecond"]
            .map(|name| (name.to_owned(), UNLIMITED.to_owned()))
            .into(),
        build: Build::Release,
        ..StackOptions::default()
    };
    let landfall = Landfall {
        stack: Stack::start(options, progress).await?,
    };
    progress.step("http: a table of products");
    let sample = Sample::make(plan.directory(), ROWS.min(plan.rows), 1)?;
    landfall.put(DATASET, &sample.file).await?;
    let stack = &landfall.stack;
    let database = stack.sql_url();
    let mut connection = postgres(database).await?;
    connection.execute("VACUUM ANALYZE products").await?;
    let found = Database::at(database).content(DATASET).await?;
    sample.keyed.check(found, DATASET)?;
    part.versions
        .extend([Database::at(database).version().await?]);
    part.figure("the table", as_float(found.rows), "rows", None);

    let standalone = StandaloneApi::start(stack, plan, progress).await?;
    let servers = [
        Server {
            name: "api alone",
            what: "one process of the deployed api's binary, itself the HTTP server; its ledger is a stub that \
                   answers at once",
            url: &standalone.url,
        },
        Server {
            name: "deployed",
            what: "through the local AWS endpoint (MiniStack, in Python): its gateway, its Lambda, its ledger",
            url: &stack.outputs().api_url,
        },
    ];
    let requests = requests(&standalone.url, stack.token()).await?;
    for server in &servers {
        for request in &requests {
            check(server.url, stack.token(), request)
                .await
                .with_context(|| format!("{}: {}", server.name, request.name))?;
        }
    }
    let bench = Bench {
        plan,
        progress,
        stack,
    };
    bench.all(&mut part, &servers, &requests).await?;
    drop(standalone);
    landfall.stack.stop();
    ratios(&mut part, &requests);
    Ok(part)
}

struct Bench<'a> {
    plan: &'a Plan,
    progress: &'a Lines,
    stack: &'a Stack,
}

impl Bench<'_> {
    /// Measures everything in turn, run by run.
    async fn all(
        &self,
        part: &mut Part,
        servers: &[Server<'_>],
        requests: &[RequestSpec],
    ) -> Result<()> {
        let seconds = if self.plan.quick {
            QUICK_SECONDS
        } else {
            SECONDS
        };
        wait_until_idle().await;
        for run in 0..self.plan.runs {
            for connections in CONNECTIONS {
                self.progress
                    .step(&format!("http, run {}: {connections} connections", run + 1));
                for statement in Statement::ALL {
                    let query = tools::pgbench(
                        self.plan,
                        self.stack.sql_url(),
                        statement,
                        connections,
                        seconds,
                    );
                    let what = "pgbench, prepared, the api's statement";
                    part.load(statement.name(), what, connections, query.await?);
                }
                for server in servers {
                    for request in requests {
                        // Warms up everything.
                        if run == 0 {
                            self.wrk(server, request, connections, 1).await?;
                        }
                        let got = self.wrk(server, request, connections, seconds).await?;
                        part.load(&named(server.name, request), server.what, connections, got);
                    }
                }
            }
        }
        Ok(())
    }

    async fn wrk(
        &self,
        server: &Server<'_>,
        request: &RequestSpec,
        connections: usize,
        seconds: u64,
    ) -> Result<LoadRun> {
        let token = self.stack.token();
        tools::wrk(self.plan, server.url, token, request, connections, seconds)
            .await
            .with_context(|| named(server.name, request))
    }
}

fn named(server: &str, request: &RequestSpec) -> String {
    format!("{server}, {}", request.name)
}

/// Adds the ratios of the API's speed to that of the statement it runs, or would run without its cache.
fn ratios(part: &mut Part, requests: &[RequestSpec]) {
    for request in requests {
        let statement = request.statement.unwrap_or(Statement::FirstPage);
        for connections in CONNECTIONS {
            part.compare_loads(&named("api alone", request), statement.name(), connections);
        }
    }
}

async fn requests(url: &str, token: &str) -> Result<Vec<RequestSpec>> {
    let first = |name, header, status, statement| RequestSpec {
        name,
        path: PAGE,
        header,
        status,
        statement,
    };
    let mut requests = vec![
        first("first page, from the cache", None, StatusCode::OK, None),
        first(
            "first page, from the database",
            Some(("Cache-Control", "no-cache".to_owned())),
            StatusCode::OK,
            Some(Statement::FirstPage),
        ),
        first(
            "from a random key on, from the database",
            None,
            StatusCode::OK,
            Some(Statement::FromRandomKey),
        ),
    ];
    let answer = send(url, token, &requests[0]).await?;
    let etag = answer.headers().get(ETAG).map(HeaderValue::to_str);
    let etag = etag.context("a page has no ETag")??.to_owned();
    let known = Some(("If-None-Match", etag));
    let unchanged = first(
        "first page, not changed",
        known,
        StatusCode::NOT_MODIFIED,
        None,
    );
    requests.insert(1, unchanged);
    Ok(requests)
}

async fn send(url: &str, token: &str, spec: &RequestSpec) -> Result<reqwest::Response> {
    let mut request = Client::new()
        .get(format!("{url}{}", spec.path))
        .bearer_auth(token);
    if let Some((name, value)) = &spec.header {
        request = request.header(*name, value);
    }
    Ok(request.send().await?)
}

/// Fails on a wrong answer, so that it is never measured.
async fn check(url: &str, token: &str, request: &RequestSpec) -> Result<()> {
    let answer = send(url, token, request).await?;
    ensure!(
        answer.status() == request.status,
        "answered {}",
        answer.status()
    );
    if request.status == StatusCode::OK {
        let page: Value = serde_json::from_slice(&answer.bytes().await?)?;
        let rows = page["rows"].as_array().map_or(0, Vec::len);
        ensure!(
            rows == 50 && page["next"].is_string(),
            "a page of {rows} rows"
        );
    }
    Ok(())
}
