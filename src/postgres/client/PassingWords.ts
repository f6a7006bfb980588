/**
 * Words of statements that leave nothing in their session behind the end of the transaction.
 */

/** What a body cannot change its session with, beyond its transaction. */
export const passing = new Set(
  `INSERT UPDATE DELETE MERGE WITH VALUES TABLE SHOW CREATE ALTER DROP COMMENT GRANT REVOKE TRUNCATE LOCK SAVEPOINT RELEASE ROLLBACK ANALYZE
  REINDEX VACUUM CLUSTER CHECKPOINT REFRESH COPY NOTIFY DECLARE FETCH MOVE CLOSE SECURITY IMPORT`.split(/\s+/)
)

/** Behind SET: until the transaction ends. */
export const scoped = new Set(["LOCAL", "TRANSACTION", "CONSTRAINTS"])

/** Functions of the server that change nothing of the session, and words that a parenthesis may follow. */
export const harmless = new Set(
  `all and any array as avg between by case cast ceil coalesce concat concat_ws count current_database current_schema current_schemas
  current_setting date_trunc decode digest distinct encode except exists extract filter first_value floor format from from_json gen_random_uuid
  generate_series greatest grouping group having hashtext in int intersect is join json_agg json_array_elements json_array_elements_text
  json_build_array json_build_object json_each json_each_text jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length
  jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_object_agg jsonb_object_keys jsonb_set jsonb_to_recordset lag last_value
  lead least left length like limit ln lower lpad ltrim materialized max md5 min mod not now nullif nullifzero numeric offset on or order over
  overlay partition percentile_cont pg_advisory_xact_lock pg_backend_pid pg_column_size pg_current_xact_id pg_notify pg_relation_size pg_sleep
  pg_try_advisory_xact_lock position power random rank regexp_matches regexp_replace repeat replace returning right round row row_number
  row_to_json rpad rtrim select set setval nextval currval lastval some split_part string_agg string_to_array array_agg array_length
  array_position array_remove array_to_string strpos substr substring sum then to_char to_date to_json to_jsonb to_number to_regclass
  to_timestamp trim trunc txid_current union unnest upper using uuid values varchar version when where width_bucket within xmlagg`.split(
    /\s+/
  )
)
