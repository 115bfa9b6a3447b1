import type { Pipeline } from "@/api/types";
import { rate } from "@/lib/numbers";
import s from "./PipelinePage.module.css";

/** The key groups as one band, cut where a shard ends: every group has exactly one owner, or the gap shows. */
export function KeyGroups({ shards }: { shards: Pipeline["shards"] }) {
  const sorted = [...shards].sort((a, b) => a.key_group_from - b.key_group_from);
  const total = Math.max(1, ...sorted.map((shard) => shard.key_group_to));
  const busiest = Math.max(1, ...sorted.map((shard) => shard.events_per_s));
  return (
    <div className={s.band}>
      {sorted.map((shard, at) => {
        const before = at === 0 ? 0 : (sorted[at - 1]?.key_group_to ?? 0);
        const gap = shard.key_group_from - before;
        return (
          <div
            key={shard.name}
            className={s.slice}
            style={{ flexGrow: (shard.key_group_to - before) / total }}
          >
            {gap > 0 && (
              <div
                className={s.gap}
                style={{ flexGrow: gap }}
                title={`Key groups ${before} to ${shard.key_group_from - 1} have no owner`}
              >
                no owner
              </div>
            )}
            <div className={s.shard} style={{ flexGrow: shard.key_group_to - shard.key_group_from }}>
              <div
                className={s.level}
                style={{ height: `${Math.max(4, (shard.events_per_s / busiest) * 100)}%` }}
              />
              <span className={s.shardName}>{shard.name}</span>
              <span className={s.shardRange}>
                {shard.key_group_from} to {shard.key_group_to - 1}
              </span>
              <span className={s.shardRate}>{rate(shard.events_per_s)} events a second</span>
            </div>
          </div>
        );
      })}
    </div>
  );
}
