//! Writes rows to a table: many with `COPY`, few with `INSERT`.
//!
//! The arguments of the `INSERT` are the same bytes that `COPY` would send. A `COPY` ends with a message of its
//! own. Unless `TCP_NODELAY` is set, the client's system holds that message back until the server has acknowledged
//! the rows. sqlx 0.9.0 lost that setting (launchbadge/sqlx#4335). Once sqlx sets it again, `COPY` alone is enough.

use landfall_domain::{Row, RowVersion, RowVersions};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments as _, AssertSqlSafe, PgConnection, Postgres, Type};

use super::copy::{HEADER, TRAILER};

const SEND_BYTES: usize = 256 << 10;
/// The maximum number of rows to insert. A `COPY` ends with a separate message, which the client's system holds
/// back until the server has acknowledged the rows: 40 ms without `TCP_NODELAY`, which sqlx 0.9.0 does not set
/// (launchbadge/sqlx#4335). `COPY` alone will do once sqlx sets it.
const FEW: usize = 64;

/// A table that rows are sent to.
pub(super) struct Destination {
    pub(super) table: String,
    pub(super) columns: String,
}

impl Destination {
    /// Sends rows, each of which `put` appends in the format of `COPY`. Returns how many the server accepted.
    pub(super) async fn fill<'r>(
        &self,
        connection: &mut PgConnection,
        versions: RowVersions,
        mut rows: impl Iterator<Item = &'r Row>,
        put: impl Fn(&mut Vec<u8>, &Row, &RowVersion),
    ) -> Result<u64, sqlx::Error> {
        let mut buffer = HEADER.to_vec();
        let mut begun = 0;
        while begun <= FEW && buffer.len() < SEND_BYTES {
            let Some(row) = rows.next() else {
                return self.insert(connection, &buffer[HEADER.len()..]).await;
            };
            put(&mut buffer, row, &versions.of(row));
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
            put(&mut buffer, row, &versions.of(row));
        }
        buffer.extend_from_slice(TRAILER);
        copy.send(buffer.as_slice()).await?;
        copy.finish().await
    }

    /// Inserts rows that fit one message.
    async fn insert(
        &self,
        connection: &mut PgConnection,
        mut rows: &[u8],
    ) -> Result<u64, sqlx::Error> {
        let mut arguments = PgArguments::default();
        let mut places = Vec::new();
        while let Some(fields) = split_array(&mut rows).map(u16::from_be_bytes) {
            let mut row = Vec::with_capacity(fields.into());
            for _ in 0..fields {
                let field = Field::parse(&mut rows);
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
        // Unprepared: the next chunk rarely has as many rows.
        let done = sqlx::query_with(AssertSqlSafe(statement), arguments)
            .persistent(false)
            .execute(connection)
            .await?;
        Ok(done.rows_affected())
    }
}

fn split_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    bytes.split_off(..N)?.try_into().ok()
}

/// A field of `COPY`, whose bytes also serve as a statement's argument.
struct Field<'a>(Option<&'a [u8]>);

impl<'a> Field<'a> {
    /// Splits off a field, or returns none if it is truncated.
    fn parse(bytes: &mut &'a [u8]) -> Option<Self> {
        let field = match i32::from_be_bytes(split_array(bytes)?) {
            -1 => None,
            length => Some(bytes.split_off(..usize::try_from(length).ok()?)?),
        };
        Some(Self(field))
    }
}

impl Type<Postgres> for Field<'_> {
    /// None: the server takes the column's type.
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
