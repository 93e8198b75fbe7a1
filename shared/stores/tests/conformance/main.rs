//! What every store promises, tested on each: `SQLite` in a file, the others where environment variables say.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

mod changes;
mod changes_again;
mod changes_random;
mod client;
mod databases;
mod deletes;
mod document_keys;
mod evolution;
mod expiry;
mod filters;
mod first_load;
mod follower;
mod generated;
mod goods;
mod key_versions;
mod maintenance;
mod matrix;
mod merge;
mod merge_random;
mod numbers;
mod ordered;
mod overlap;
mod owners;
mod places;
mod posts;
mod random;
mod reads;
mod rows;
mod search;
mod tables;
mod totals;
mod values;
mod versions;
mod walks;
mod wide;
mod worker;

macro_rules! conformance {
    ($database:ident: $($module:ident::$test:ident),* $(,)?) => {
        mod $database {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    let Some(database) = crate::databases::Database::$database() else {
                        return;
                    };
                    crate::$module::$test(&database).await;
                }
            )*
        }
    };
    ($($database:ident),*) => {
        $(
            conformance! { $database:
                values::every_type_comes_back,
                values::json_that_a_store_cannot_hold_is_counted_once,
                values::columns_outside_the_dataset_are_kept_or_dropped,
                values::keys_differ_by_their_bytes,
                values::keys_of_several_fields,
                versions::redelivery_changes_nothing,
                versions::a_newer_row_wins_in_any_order,
                versions::an_unchanged_row_still_advances,
                versions::a_space_at_the_end_is_a_change,
                versions::a_dataset_of_keys_alone,
                versions::concurrent_appliers_leave_the_greatest_version,
                ordered::the_greatest_value_wins_in_any_order,
                ordered::the_value_of_a_delete_counts,
                ordered::times_decide_too,
                ordered::an_order_for_existing_rows,
                ordered::an_order_after_snapshots,
                ordered::an_order_stays,
                ordered::concurrent_changes_leave_the_greatest_value,
                tables::few_rows_and_some_more,
                tables::whole_chunks_at_once,
                tables::wide_rows,
                wide::texts_that_fit_in_every_store,
                wide::the_widest_rows_that_pass_the_check,
                wide::full_rows_of_500_texts,
                wide::keys_of_eight_texts,
                tables::tables_are_made_once_and_grow,
                tables::tables_that_do_not_fit_are_refused,
                tables::a_refused_chunk_leaves_nothing,
                evolution::a_new_field_is_added,
                evolution::another_type_is_refused,
                evolution::another_key_is_refused,
                evolution::eight_workers_add_fields_at_once,
                places::rows_are_identified_by_their_place,
                owners::the_first_stack_owns_a_dataset,
                owners::of_two_stacks_that_begin_at_once_one_owns_the_dataset,
                first_load::new_and_known_keys_in_big_chunks,
                first_load::small_chunks_between_big_ones,
                overlap::two_overlapping_files_at_once,
                overlap::two_big_overlapping_files_at_once,
                overlap::the_first_deletes_beside_big_chunks,
                deletes::present_absent_and_newer_keys,
                deletes::late_rows_of_a_deleted_key,
                deletes::the_newest_delete_counts,
                deletes::rows_and_deletes_in_one_chunk,
                deletes::concurrent_deletes_leave_what_the_greatest_version_says,
                deletes::a_prune_is_counted_before_it_runs,
                deletes::a_snapshot_prunes_what_it_no_longer_has,
                deletes::a_snapshot_beside_deleted_keys,
                deletes::late_rows_beside_a_snapshot_that_closes,
                maintenance::an_index_of_a_big_table_is_left_to_maintenance,
                maintenance::small_tables_get_their_indexes_at_once,
                maintenance::an_order_of_a_big_table_gets_room,
                walks::a_prune_survives_crashes_between_and_within_steps,
                walks::writers_go_on_beside_a_prune,
                walks::a_newer_snapshot_takes_over_a_prune,
                merge::columns_that_a_file_lacks_stay,
                merge::every_type_is_merged,
                merge::deletes_and_columns,
                merge::a_dataset_merges_for_a_while,
                merge::a_field_is_added_to_a_merge,
                merge::merges_and_snapshots_exclude_each_other,
                merge::the_value_of_a_field_decides_for_each_column,
                merge_random::random_columns_in_any_order,
                merge::a_merge_begins_while_upserts_run,
                changes::only_changes_are_due,
                changes::changes_supersede_each_other,
                changes::a_lost_lease_is_due_again,
                changes::retries_and_refusals,
                changes_again::redrives_in_parts,
                changes_again::what_the_service_has,
                changes::a_prune_is_a_delete_of_each_key,
                changes::existing_rows_are_synchronised,
                changes::destinations_come_and_go,
                changes::changes_of_big_chunks,
                changes::changes_of_merged_columns,
                changes_random::random_changes_leases_and_results,
                changes_random::two_callers_beside_two_writers,
                reads::pages_in_every_order,
                reads::pages_while_writers_load,
                reads::nothing_there_reads_as_empty,
                reads::a_field_becomes_indexed,
                reads::an_index_that_does_not_exist_yet,
                reads::readers_share_a_connection,
                reads::bounds_of_a_read,
                filters::conditions_of_every_type,
                key_versions::versions_of_a_key,
                key_versions::versions_of_keys_of_several_fields,
                key_versions::versions_of_columns,
                numbers::numbers_with_rows_and_tombstones,
                numbers::many_numbers,
                matrix::matrix_of_keys_and_sizes,
                random::random_datasets_and_chunks,
            }
        )*
    };
}

conformance!(sqlite, postgres, mysql, mongodb);

/// Tests for PostgreSQL only.
mod of_postgres {
    conformance! { postgres:
        first_load::rows_of_another_program,
        first_load::hashes_of_keys_are_kept_for_new_tables,
        reads::a_reader_needs_no_more_than_select,
        tables::a_trigger_keeps_rows_out,
        maintenance::an_invalid_index_is_created_again,
        maintenance::one_session_at_a_time,
    }
}

/// Tests for `MySQL` only.
mod of_mysql {
    conformance! { mysql: tables::a_table_that_comes_and_goes }
}

/// Tests for MongoDB only.
mod of_mongodb {
    conformance! { mongodb:
        document_keys::documents_as_keys_are_refused,
        document_keys::a_key_of_several_fields_is_a_text,
        expiry::the_server_deletes_expired_tombstones,
        search::mongodb_is_not_searched,
    }
}

/// Timeouts of reads: of a wait, where tables can be locked.
mod too_long {
    conformance! { postgres: reads::a_read_ends_in_time }
    conformance! { mysql: reads::a_read_ends_in_time }
    conformance! { sqlite: reads::a_long_read_ends_in_time }
}

/// Tests for SQL stores only.
mod sql {
    macro_rules! totals {
        ($($database:ident),*) => {
            $(
                conformance! { $database:
                    totals::totals_at_every_commit,
                    totals::extremes_come_and_go,
                    totals::sums_beyond_64_bits,
                    totals::totals_of_existing_rows,
                    totals::two_prepare_totals_at_once,
                    totals::totals_are_rebuilt,
                    totals::a_prune_updates_totals,
                    walks::totals_are_exact_after_each_step_of_a_prune,
                    maintenance::totals_of_a_big_table_are_left_to_maintenance,
                    evolution::an_older_definition_keeps_newer_totals,
                    filters::pages_of_totals,
                    expiry::expired_tombstones_are_swept_in_steps,
                    expiry::sweeps_beside_writers,
                    search::searches_equal_a_scan,
                    search::common_words_are_found_in_order,
                    search::a_search_follows_merged_columns,
                    search::pruned_rows_are_not_found,
                    search::a_small_table_gains_search,
                    search::a_big_table_gains_search_in_steps,
                    search::searches_beside_writers,
                }
            )*
        };
    }

    totals!(sqlite, postgres, mysql);
}
