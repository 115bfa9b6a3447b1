import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useRouter } from "@tanstack/react-router";
import { ApiProblem } from "@/api/problem";
import { queries } from "@/api/queries";
import type { TransactionDetail } from "@/api/types";
import { goBack } from "@/app/back";
import { Page } from "@/app/Page";
import { useMay } from "@/auth/me";
import { DeskPanel } from "@/features/exceptions/DeskPanel";
import { span } from "@/lib/time";
import { Button, IconButton } from "@/ui/Button";
import { BreakTags, SeverityMark, VerdictMark } from "@/ui/marks";
import { Panel } from "@/ui/Panel";
import { Empty, Failed, Loading } from "@/ui/States";
import { Sum } from "@/ui/Sum";
import { At } from "@/ui/Time";
import { say } from "@/ui/Toasts";
import { Comparison } from "./Comparison";
import { RawEvents } from "./RawEvents";
import { Revisions } from "./Revisions";
import { Timeline } from "./Timeline";
import { Trail } from "./Trail";
import s from "./TransactionPage.module.css";

const route = getRouteApi("/app/transactions/$txnId");

export default function TransactionPage() {
  const { txnId } = route.useParams();
  const router = useRouter();
  const found = useQuery(queries.transaction(txnId));
  return (
    <Page
      title="Transaction"
      lead={
        <span className={s.id}>
          <code>{txnId}</code>
          <IconButton
            icon="copy"
            label="Copy the transaction id"
            onClick={() => void navigator.clipboard.writeText(txnId).then(() => say("Copied"))}
          />
        </span>
      }
      actions={
        <Button icon="left" kind="ghost" onClick={() => goBack(router)}>
          Back
        </Button>
      }
    >
      {found.isPending && <Loading lines={12} label="Loading the transaction" />}
      {found.isError && !found.data && <Missing error={found.error} retry={() => void found.refetch()} />}
      {found.data && <Detail detail={found.data} />}
    </Page>
  );
}

function Missing({ error, retry }: { error: unknown; retry: () => void }) {
  if (error instanceof ApiProblem && error.status === 404) {
    return (
      <Empty title="No such transaction" action={<Link to="/transactions">All transactions</Link>}>
        No source has reported this id, or it is written differently.
      </Empty>
    );
  }
  return <Failed error={error} retry={retry} />;
}

function Detail({ detail }: { detail: TransactionDetail }) {
  const may = useMay();
  const { result, rules } = detail;
  const onDesk = result.verdict === "MISMATCHED" || result.exception_state !== null;
  return (
    <>
      <section className={s.hero} aria-label="Result">
        <div className={s.fact}>
          <span className={s.factName}>Verdict</span>
          <strong className={s.big}>
            <VerdictMark
              verdict={result.verdict}
              late={result.late_sources.length > 0}
              final={result.final}
            />
          </strong>
        </div>
        <div className={s.fact}>
          <span className={s.factName}>Amount</span>
          <strong className={s.big}>
            <Sum minor={result.amount_minor} currency={result.currency} />
          </strong>
        </div>
        <div className={s.fact}>
          <span className={s.factName}>Breaks</span>
          <BreakTags breaks={result.breaks} missing={result.missing_sources} />
        </div>
        {result.severity && (
          <div className={s.fact}>
            <span className={s.factName}>Severity</span>
            <SeverityMark severity={result.severity} />
          </div>
        )}
        <div className={s.fact}>
          <span className={s.factName}>Decided</span>
          <span>
            <At at={result.decided_at} />
            <span className="muted">
              {" "}
              after {span(Math.max(0, result.decided_at - result.first_arrival))}
            </span>
          </span>
        </div>
        <div className={s.fact}>
          <span className={s.factName}>Rules</span>
          <span>
            {may("listRuleSets") ? (
              <Link to="/rules" search={{ version: rules.version }}>
                Version {rules.version}
              </Link>
            ) : (
              `Version ${rules.version}`
            )}
            <span className="muted">, revision {result.revision}</span>
          </span>
        </div>
      </section>
      <div className={onDesk ? s.columns : s.single}>
        <div className={s.column}>
          <Panel title="What each source says" flush>
            <Comparison detail={detail} />
          </Panel>
          <Panel title="When it happened and when it arrived">
            <Timeline detail={detail} />
          </Panel>
          <Panel title="Events as read from the log" flush>
            <RawEvents events={detail.events} />
          </Panel>
          <Panel title="Revisions" flush>
            <Revisions revisions={detail.revisions} />
          </Panel>
          {may("getTransactionAudit") && (
            <Panel title="Audit trail" flush>
              <Trail txnId={result.txn_id} />
            </Panel>
          )}
        </div>
        {onDesk && (
          <aside className={s.side} aria-label="Exception">
            <DeskPanel txnId={result.txn_id} />
            {detail.related.length > 0 && (
              <Panel title="Refers to">
                <ul>
                  {detail.related.map((txnId) => (
                    <li key={txnId}>
                      <Link to="/transactions/$txnId" params={{ txnId }} className="mono">
                        {txnId}
                      </Link>
                    </li>
                  ))}
                </ul>
              </Panel>
            )}
          </aside>
        )}
      </div>
    </>
  );
}
