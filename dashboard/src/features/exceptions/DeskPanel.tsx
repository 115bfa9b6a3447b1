import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useRef, useState } from "react";
import { queries } from "@/api/queries";
import type { ActionName, ExceptionDetail } from "@/api/types";
import { useMay, useMe } from "@/auth/me";
import { ACTIONS, actionDone, REASONS } from "@/lib/labels";
import { Button } from "@/ui/Button";
import { Area } from "@/ui/Field";
import { Menu, MenuItem } from "@/ui/Menu";
import { SeverityMark, StateMark } from "@/ui/marks";
import { Panel } from "@/ui/Panel";
import { Failed, Loading } from "@/ui/States";
import { At } from "@/ui/Time";
import { useAct, useComment } from "./actions";
import s from "./DeskPanel.module.css";
import { RejectDialog } from "./RejectDialog";
import { ResolveDialog } from "./ResolveDialog";

/** An exception: its state, what one may do to it, its comments and its history. */
export function DeskPanel({ txnId }: { txnId: string }) {
  const found = useQuery(queries.exception(txnId));
  return (
    <Panel title="Exception" aside={found.data && <SeverityMark severity={found.data.exception.severity} />}>
      {found.isPending && <Loading lines={5} label="Loading the exception" />}
      {found.isError && !found.data && <Failed error={found.error} retry={() => void found.refetch()} />}
      {found.data && <Desk detail={found.data} txnId={txnId} />}
    </Panel>
  );
}

function Desk({ detail, txnId }: { detail: ExceptionDetail; txnId: string }) {
  const { exception } = detail;
  const may = useMay();
  return (
    <div className={s.desk}>
      <dl className={s.facts}>
        <dt>State</dt>
        <dd>
          <StateMark
            state={exception.state}
            proposed={exception.proposed_by !== null && exception.state !== "resolved"}
          />
        </dd>
        <dt>Assignee</dt>
        <dd>{exception.assignee ?? <span className="muted">nobody</span>}</dd>
        {exception.reason_code && (
          <>
            <dt>Reason</dt>
            <dd>{REASONS[exception.reason_code]}</dd>
          </>
        )}
        {exception.resolved_by && (
          <>
            <dt>Resolved by</dt>
            <dd>
              {exception.resolved_by}
              {exception.approved_by && `, approved by ${exception.approved_by}`}
            </dd>
          </>
        )}
      </dl>
      {exception.proposed_by !== null && exception.state !== "resolved" && (
        <p className={s.notice}>
          <strong>{exception.proposed_by}</strong> proposes to resolve it. Somebody else must approve.
        </p>
      )}
      {exception.needs_second_person && exception.proposed_by === null && exception.state !== "resolved" && (
        <p className={s.hint}>The amount is large: resolving it needs a second person.</p>
      )}
      {may("actOnException") && <Actions detail={detail} txnId={txnId} />}
      <Comments detail={detail} txnId={txnId} />
      <History detail={detail} />
    </div>
  );
}

const PRIMARY: readonly ActionName[] = ["approve", "resolve", "reopen"];

function Actions({ detail, txnId }: { detail: ExceptionDetail; txnId: string }) {
  const act = useAct(txnId);
  const me = useMe();
  const people = useQuery(queries.people());
  // The version that one saw when the dialog opened: what a colleague does meanwhile must be refused, not overwritten.
  const [resolving, setResolving] = useState<number | null>(null);
  const [rejecting, setRejecting] = useState<number | null>(null);
  const { exception, actions } = detail;
  if (actions.length === 0) return <p className={s.hint}>There is nothing for you to do here.</p>;
  const run = (action: ActionName) => act.mutate({ action, version: exception.version, note: "" });
  const others = (people.data ?? []).filter((person) => person.username !== me.username);
  return (
    <div className={s.actions}>
      {actions.includes("resolve") && (
        <Button kind="primary" onClick={() => setResolving(exception.version)}>
          {exception.needs_second_person ? "Propose to resolve" : "Resolve"}
        </Button>
      )}
      {actions
        .filter((action) => action !== "resolve" && action !== "assign" && action !== "unassign")
        .map((action) => (
          <Button
            key={action}
            kind={action === "reject" ? "danger" : PRIMARY.includes(action) ? "primary" : "plain"}
            busy={act.isPending}
            onClick={() => (action === "reject" ? setRejecting(exception.version) : run(action))}
          >
            {ACTIONS[action]}
          </Button>
        ))}
      {actions.includes("assign") && exception.assignee !== me.username && (
        <Button busy={act.isPending} onClick={() => run("assign")}>
          Assign to me
        </Button>
      )}
      {actions.includes("assign") && (
        <Menu trigger={<Button icon="user">Assign to</Button>}>
          {others.map((person) => (
            <MenuItem
              key={person.username}
              icon="user"
              onClick={() =>
                act.mutate({
                  action: "assign",
                  version: exception.version,
                  assignee: person.username,
                  note: "",
                })
              }
            >
              {person.name || person.username}
            </MenuItem>
          ))}
          {others.length === 0 && (
            <MenuItem onClick={() => undefined}>Nobody else has signed in yet</MenuItem>
          )}
          {actions.includes("unassign") && (
            <MenuItem icon="close" onClick={() => run("unassign")}>
              Give back
            </MenuItem>
          )}
        </Menu>
      )}
      {!actions.includes("assign") && actions.includes("unassign") && (
        <Button onClick={() => run("unassign")}>Give back</Button>
      )}
      <ResolveDialog
        open={resolving !== null}
        onClose={() => setResolving(null)}
        needsSecond={exception.needs_second_person}
        busy={act.isPending}
        onResolve={(reason_code, note) =>
          act.mutate(
            { action: "resolve", version: resolving ?? exception.version, reason_code, note },
            { onSettled: () => setResolving(null) },
          )
        }
      />
      <RejectDialog
        open={rejecting !== null}
        onClose={() => setRejecting(null)}
        proposer={exception.proposed_by ?? "The proposer"}
        busy={act.isPending}
        onReject={(note) =>
          act.mutate(
            { action: "reject", version: rejecting ?? exception.version, note },
            { onSettled: () => setRejecting(null) },
          )
        }
      />
    </div>
  );
}

function Comments({ detail, txnId }: { detail: ExceptionDetail; txnId: string }) {
  const may = useMay();
  const comment = useComment(txnId);
  const [text, setText] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) comment.mutate(text.trim(), { onSuccess: () => setText("") });
  };
  return (
    <section aria-label="Comments" className={s.section}>
      <h3 className={s.heading}>Comments</h3>
      {detail.comments.length === 0 && <p className="muted">No comment yet.</p>}
      <ol className={s.comments}>
        {detail.comments.map((each) => (
          <li key={each.comment_id} className={s.comment}>
            <p className={s.by}>
              <strong>{each.author}</strong>
              <span className="muted">
                <At at={each.at} />
              </span>
            </p>
            <p className={s.words}>{each.text}</p>
          </li>
        ))}
      </ol>
      {may("addExceptionComment") && (
        <form ref={form} onSubmit={submit} className={s.form}>
          <Area
            aria-label="Comment"
            placeholder="What you found out"
            rows={2}
            maxLength={2000}
            value={text}
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.current?.requestSubmit();
            }}
          />
          <Button small type="submit" busy={comment.isPending} disabled={text.trim() === ""}>
            Comment
          </Button>
        </form>
      )}
    </section>
  );
}

function History({ detail }: { detail: ExceptionDetail }) {
  if (detail.history.length === 0) return null;
  return (
    <section aria-label="History" className={s.section}>
      <h3 className={s.heading}>History</h3>
      <ol className={s.history}>
        {detail.history.map((step) => (
          <li key={`${step.at}.${step.action}`} className={s.step}>
            <span className={s.dot} aria-hidden="true" />
            <div>
              <span>
                <strong>{step.actor}</strong> {actionDone(step.action)}
              </span>
              {step.note && <p className="quiet">{step.note}</p>}
            </div>
            <span className="muted nowrap">
              <At at={step.at} />
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}
