-- Dead letters.

-- name: search
-- Newest first; few enough rows for a plain walk over the index.
select topic, kafka_partition, kafka_offset, arrival, reason, detail, coalesce(length(payload), 0) as size_bytes, state,
       state_changed_at, state_changed_by
from dead_letters
where ($1::timestamptz is null or (arrival, topic, kafka_partition, kafka_offset) < ($1, $2::text, $3::integer, $4::bigint))
  and ($5::text is null or state = $5) and ($6::text is null or reason = $6) and ($7::text is null or topic = $7)
order by arrival desc, topic desc, kafka_partition desc, kafka_offset desc limit $8;

-- name: one
-- By topic, partition and offset: one probe in each key group.
select d.key_group, d.topic, d.kafka_partition, d.kafka_offset, d.arrival, d.reason, d.detail, d.key, d.payload, d.headers,
       coalesce(length(d.payload), 0) as size_bytes, d.state, d.state_changed_at, d.state_changed_by
from dead_letters d
where d.key_group = any($1::smallint[]) and d.topic = $2 and d.kafka_partition = $3 and d.kafka_offset = $4
limit 1;

-- name: change
-- From a state that allows it.
update dead_letters set state = $5, state_changed_at = now(), state_changed_by = $6
where key_group = $1 and topic = $2 and kafka_partition = $3 and kafka_offset = $4 and state = any($7::text[])
returning topic, kafka_partition, kafka_offset, arrival, reason, detail, coalesce(length(payload), 0) as size_bytes, state,
          state_changed_at, state_changed_by;
