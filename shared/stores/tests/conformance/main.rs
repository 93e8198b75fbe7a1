//! What every store promises, on each of them: `SQLite` in a file, the others where variables say.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

mod databases;
mod rows;
mod tables;
mod values;
mod versions;

macro_rules! conformance {
    ($database:ident: $($module:ident::$test:ident),* $(,)?) => {
        mod $database {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    crate::$module::$test(&crate::databases::Database::$database()).await;
                }
            )*
        }
    };
    ($($database:ident),*) => {
        $(
            conformance! { $database:
                values::every_type_comes_back,
                values::json_that_a_store_cannot_hold_stays_text,
                values::columns_outside_the_dataset_are_kept_or_dropped,
                values::keys_differ_by_their_bytes,
                values::keys_of_several_fields,
                versions::redelivery_changes_nothing,
                versions::a_newer_row_wins_in_any_order,
                versions::an_unchanged_row_still_advances,
                versions::a_space_at_the_end_is_a_change,
                versions::a_dataset_of_keys_alone,
                versions::concurrent_appliers_leave_the_greatest_version,
                tables::whole_chunks_at_once,
                tables::wide_rows,
                tables::tables_are_made_once_and_grow,
                tables::tables_that_do_not_fit_are_told,
                tables::a_refused_chunk_leaves_nothing,
            }
        )*
    };
}

conformance!(sqlite, postgres, mysql, mongodb);
