import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "@/api/client";
import { queries } from "@/api/queries";
import type { DeadLetterDetail } from "@/api/types";
import { useMay } from "@/auth/me";
import { count } from "@/lib/numbers";
import { Button } from "@/ui/Button";
import { Confirm } from "@/ui/Confirm";
import { Panel } from "@/ui/Panel";
import { Failed, Loading } from "@/ui/States";
import { At } from "@/ui/Time";
import { say, sayFailed } from "@/ui/Toasts";
import s from "./DeadLetters.module.css";
import { hexLines } from "./hex";
import { reasonLabel } from "./search";

const HEX_LINES_SHOWN = 256;

/** One record: why it was set aside, what can be read of it, its bytes, and what to do with it. */
export function Letter({ id }: { id: string }) {
  const found = useQuery(queries.deadLetter(id));
  return (
    <Panel title="Record" aside={found.data && <Actions detail={found.data} />}>
      {found.isPending && <Loading lines={8} label="Loading the record" />}
      {found.isError && !found.data && <Failed error={found.error} retry={() => void found.refetch()} />}
      {found.data && <Detail detail={found.data} />}
    </Panel>
  );
}

function Actions({ detail }: { detail: DeadLetterDetail }) {
  const client = useQueryClient();
  const may = useMay();
  const [dismissing, setDismissing] = useState(false);
  const path = { params: { path: { letter_id: detail.letter.id } } };
  const refresh = () => void client.invalidateQueries({ queryKey: ["dead-letters"] });
  const failed = (error: Error) => {
    sayFailed(error);
    setDismissing(false);
    refresh(); // somebody else may have been faster
  };
  const replay = useMutation({
    mutationFn: () => take(api.POST("/api/v1/dead-letters/{letter_id}/replay", path)),
    onSuccess: (result) => {
      say("Sent through the log again", `${result.topic}:${result.partition}:${result.offset}`);
      refresh();
    },
    onError: failed,
  });
  const dismiss = useMutation({
    mutationFn: () => take(api.POST("/api/v1/dead-letters/{letter_id}/dismiss", path)),
    onSuccess: () => {
      say("Set aside for good", "It stays stored.");
      setDismissing(false);
      refresh();
    },
    onError: failed,
  });
  const fresh = detail.letter.state === "new";
  return (
    <>
      {fresh && may("dismissDeadLetter") && (
        <Button small onClick={() => setDismissing(true)}>
          Dismiss
        </Button>
      )}
      {detail.letter.state !== "replayed" && may("replayDeadLetter") && (
        <Button
          small
          kind={fresh && !detail.refusal ? "primary" : "plain"}
          disabled={detail.refusal !== null}
          busy={replay.isPending}
          onClick={() => replay.mutate()}
        >
          Replay
        </Button>
      )}
      <Confirm
        open={dismissing}
        onClose={() => setDismissing(false)}
        onConfirm={() => dismiss.mutate()}
        busy={dismiss.isPending}
        title="Dismiss this record?"
        action="Dismiss"
      >
        Its event is then never counted. The bytes stay stored, and the audit trail says who decided.
      </Confirm>
    </>
  );
}

/** What the pipeline would make of the record today. */
function IfReplayed({ detail }: { detail: DeadLetterDetail }) {
  if (!detail.examined) return <>Not known: the schema registry does not answer.</>;
  if (!detail.refusal) return <>It would be accepted.</>;
  return (
    <>
      It would be set aside again: {reasonLabel(detail.refusal.reason).toLowerCase()}
      {detail.refusal.detail !== detail.letter.detail && <p className="quiet">{detail.refusal.detail}</p>}
    </>
  );
}

function Detail({ detail }: { detail: DeadLetterDetail }) {
  const { letter } = detail;
  const lines = hexLines(detail.payload_hex);
  return (
    <div className={s.detail}>
      <dl className={s.facts}>
        <dt>Reason</dt>
        <dd>
          <strong>{reasonLabel(letter.reason)}</strong>
          {letter.detail && <p className="quiet">{letter.detail}</p>}
        </dd>
        <dt>Log position</dt>
        <dd className="mono">{letter.id}</dd>
        <dt>Arrived</dt>
        <dd>
          <At at={letter.arrival} />
        </dd>
        {letter.state_changed_by && letter.state_changed_at !== null && (
          <>
            <dt>{letter.state === "replayed" ? "Replayed" : "Dismissed"}</dt>
            <dd>
              <At at={letter.state_changed_at} /> by {letter.state_changed_by}
            </dd>
          </>
        )}
        {letter.state !== "replayed" && (
          <>
            <dt>If replayed</dt>
            <dd>
              <IfReplayed detail={detail} />
            </dd>
          </>
        )}
        <dt>Schema id</dt>
        <dd>{detail.schema_id ?? <span className="muted">not framed</span>}</dd>
      </dl>
      <section className={s.section}>
        <h3>What the schema makes of it</h3>
        {detail.decoded ? (
          <dl className={s.facts}>
            {Object.entries(detail.decoded).map(([field, value]) => (
              <Pair key={field} name={field} value={value === null ? "null" : String(value)} />
            ))}
          </dl>
        ) : (
          <p className={s.problem}>{detail.decode_problem ?? "Nothing."}</p>
        )}
      </section>
      <section className={s.section}>
        <h3>
          Bytes <span className="muted">{count(letter.size_bytes)}</span>
        </h3>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so keys must reach it */}
        <div className={s.hex} role="region" aria-label="Bytes in hexadecimal" tabIndex={0}>
          <table>
            <caption className="sr">Offset, bytes, characters</caption>
            <tbody>
              {lines.slice(0, HEX_LINES_SHOWN).map((line) => (
                <tr key={line.offset}>
                  <th scope="row">{line.offset}</th>
                  <td>{line.bytes}</td>
                  <td className={s.chars}>{line.text}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {(lines.length > HEX_LINES_SHOWN || detail.payload_truncated) && (
          <p className="muted">Cut off here.</p>
        )}
      </section>
    </div>
  );
}

function Pair({ name, value }: { name: string; value: string }) {
  return (
    <>
      <dt className="mono">{name}</dt>
      <dd className="mono">{value === "" ? <span className="muted">empty</span> : value}</dd>
    </>
  );
}
