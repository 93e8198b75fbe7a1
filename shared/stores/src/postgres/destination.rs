//! Rows on their way into a table: many by `COPY`, few by `INSERT`.

use landfall_domain::{ObjectOrder, Row, RowVersion};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments as _, AssertSqlSafe, PgConnection, Postgres, Type};

use super::copy::{HEADER, TRAILER};

/// Bytes that are sent at once.
const SEND_BYTES: usize = 256 << 10;
/// The most rows that are inserted. The end of a `COPY` is a message of its own, which waits until the server has
/// acknowledged what came before: 40 ms where `TCP_NODELAY` is not set, as by sqlx 0.9.0 (launchbadge/sqlx#4335).
const FEW: usize = 64;

/// A table that rows are put into.
pub(super) struct Destination {
    /// Its name.
    pub(super) table: String,
    /// Names of its columns, with commas.
    pub(super) columns: String,
}

impl Destination {
    /// Takes in rows, each of which `put` appends with its version as `COPY` reads it; gives how many the server took.
    pub(super) async fn fill<'r>(
        &self,
        connection: &mut PgConnection,
        order: &ObjectOrder,
        mut rows: impl Iterator<Item = &'r Row>,
        put: impl Fn(&mut Vec<u8>, &Row, &RowVersion),
    ) -> Result<u64, sqlx::Error> {
        let mut buffer = HEADER.to_vec();
        let mut begun = 0;
        while begun <= FEW && buffer.len() < SEND_BYTES {
            let Some(row) = rows.next() else {
                return self.insert(connection, &buffer[HEADER.len()..]).await;
            };
            put(&mut buffer, row, &order.at(row.offset));
            begun += 1;
        }
        let Self { table, columns } = self;
        let statement = format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)");
        let mut copy = connection.copy_in_raw(&statement).await?;
        for row in rows {
            if buffer.len() >= SEND_BYTES {
                copy.send(buffer.as_slice()).await?;
                buffer.clear();
            }
            put(&mut buffer, row, &order.at(row.offset));
        }
        buffer.extend_from_slice(TRAILER);
        copy.send(buffer.as_slice()).await?;
        copy.finish().await
    }

    /// Inserts rows, of which there are no more than are sent at once.
    async fn insert(
        &self,
        connection: &mut PgConnection,
        mut rows: &[u8],
    ) -> Result<u64, sqlx::Error> {
        let mut arguments = PgArguments::default();
        let mut places = Vec::new();
        while let Some(fields) = take(&mut rows).map(u16::from_be_bytes) {
            let mut row = Vec::with_capacity(fields.into());
            for _ in 0..fields {
                let field = Field::take(&mut rows);
                let field =
                    field.ok_or_else(|| sqlx::Error::Encode("a field is cut short".into()))?;
                arguments.add(field).map_err(sqlx::Error::Encode)?;
                row.push(format!("${}", arguments.len()));
            }
            places.push(format!("({})", row.join(", ")));
        }
        if places.is_empty() {
            return Ok(0);
        }
        let Self { table, columns } = self;
        let places = places.join(", ");
        let statement = format!("INSERT INTO {table} ({columns}) VALUES {places}");
        // Unprepared: the next rows are most likely not as many.
        let done = sqlx::query_with(AssertSqlSafe(statement), arguments)
            .persistent(false)
            .execute(connection)
            .await?;
        Ok(done.rows_affected())
    }
}

/// Takes a number's bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    bytes.split_off(..N)?.try_into().ok()
}

/// A field of `COPY`, whose bytes are those of a statement's argument too.
struct Field<'a>(
    /// None for null.
    Option<&'a [u8]>,
);

impl<'a> Field<'a> {
    /// Takes a field, unless its bytes end before it does.
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let field = match i32::from_be_bytes(take(bytes)?) {
            -1 => None,
            length => Some(bytes.split_off(..usize::try_from(length).ok()?)?),
        };
        Some(Self(field))
    }
}

impl Type<Postgres> for Field<'_> {
    /// None: the server goes by the column that it is for.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Field<'_> {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some(bytes) = self.0 else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }
}
