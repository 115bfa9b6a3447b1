import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, take } from "@/api/client";
import { queries } from "@/api/queries";
import type { ChainState } from "@/api/types";
import { cx } from "@/lib/cx";
import { count, plural } from "@/lib/numbers";
import { Button } from "@/ui/Button";
import { FailedLine, Loading } from "@/ui/States";
import { At } from "@/ui/Time";
import { say, sayFailed } from "@/ui/Toasts";
import s from "./AuditPage.module.css";
import { ALL_CHAINS } from "./search";

const CALLS_MAX = 200;

/** Each hash chain and how far it has been verified. */
export function Chains({
  chosen,
  onChain,
  hidden,
}: {
  chosen: string;
  onChain: (chain: string) => void;
  hidden: boolean;
}) {
  const client = useQueryClient();
  const found = useQuery(queries.chains());
  const verify = useMutation({
    // Each call is bounded by time, so the work is done in several.
    mutationFn: async (fromStart: boolean) => {
      let entries = 0;
      for (let call = 0; call < CALLS_MAX; call += 1) {
        const report = await take(
          api.POST("/api/v1/audit/verify", { body: { from_start: fromStart && call === 0 } }),
        );
        entries += report.entries;
        client.setQueryData(queries.chains().queryKey, { items: report.items });
        if (report.complete || !report.intact) return { entries, intact: report.intact };
      }
      return { entries, intact: true };
    },
    onSuccess: ({ entries, intact }) =>
      intact
        ? say("The chains are intact", `${plural(entries, "entry", "entries")} recomputed.`)
        : say("A chain is broken", "See which one, and where."),
    onError: sayFailed,
  });
  if (found.isPending) return <Loading lines={2} label="Loading the chains" />;
  if (found.isError && !found.data)
    return <FailedLine error={found.error} retry={() => void found.refetch()} />;
  return (
    <section className={s.chains} aria-label="Hash chains" hidden={hidden}>
      <ul className={s.chainList}>
        {found.data.items.map((chain) => (
          <li key={chain.chain}>
            <button
              type="button"
              className={s.chain}
              aria-pressed={chosen === chain.chain}
              onClick={() => onChain(chain.chain)}
            >
              <span className={s.chainName}>{chain.chain}</span>
              <ChainLine chain={chain} />
            </button>
          </li>
        ))}
        <li>
          <button
            type="button"
            className={s.chain}
            aria-pressed={chosen === ALL_CHAINS}
            onClick={() => onChain(ALL_CHAINS)}
          >
            <span className={s.chainName}>all</span>
            <span className={s.chainState}>every chain</span>
          </button>
        </li>
        {found.data.items.length === 0 && <li className={s.chain}>No entry yet</li>}
      </ul>
      <Button icon="check" busy={verify.isPending} onClick={() => verify.mutate(false)}>
        Verify
      </Button>
    </section>
  );
}

function ChainLine({ chain }: { chain: ChainState }) {
  if (chain.intact === false) {
    return (
      <span className={cx(s.chainState, s.broken)}>
        <span aria-hidden="true">✕</span> broken: {chain.problem}
      </span>
    );
  }
  if (chain.verified_at === null) {
    return <span className={s.chainState}>{count(chain.head_seq)} entries, not verified yet</span>;
  }
  const behind = chain.head_seq - chain.verified_seq;
  return (
    <span className={cx(s.chainState, s.intact)}>
      <span aria-hidden="true">✓</span> verified to {count(chain.verified_seq)} at{" "}
      <At at={chain.verified_at} />
      {behind > 0 && <span className={s.behind}>, {count(behind)} newer</span>}
    </span>
  );
}
