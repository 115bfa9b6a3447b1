import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "@/api/client";
import { queries } from "@/api/queries";
import type { BulkPreview, BulkRequest, ExceptionFilter, GivenReason } from "@/api/types";
import { useMe } from "@/auth/me";
import { BREAKS, GIVEN_REASONS, REASONS } from "@/lib/labels";
import { count, plural } from "@/lib/numbers";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Area, Field, Select } from "@/ui/Field";
import { FailedLine } from "@/ui/States";
import { Sum } from "@/ui/Sum";
import { say } from "@/ui/Toasts";
import s from "./BulkDialog.module.css";

type BulkAction = BulkRequest["action"];

const LABELS: Record<BulkAction, string> = {
  assign: "Assign",
  unassign: "Give back",
  start_review: "Start review",
  resolve: "Resolve",
};

/** One action on everything that the filters find: first what it would touch, then the deed. */
export function BulkDialog({
  filter,
  open,
  onClose,
}: {
  filter: ExceptionFilter;
  open: boolean;
  onClose: () => void;
}) {
  const client = useQueryClient();
  const me = useMe();
  const people = useQuery(queries.people());
  const [action, setAction] = useState<BulkAction>("assign");
  const [assignee, setAssignee] = useState(me.username);
  const [reason, setReason] = useState<GivenReason>("timing");
  const [note, setNote] = useState("");
  const kinds = filter.breaks ?? [];
  const [only, setOnly] = useState(true);
  const request: BulkRequest = {
    filter: kinds.length > 0 ? { ...filter, only } : filter,
    action,
    note: note.trim(),
    ...(action === "assign" ? { assignee } : {}),
    ...(action === "resolve" ? { reason_code: reason } : {}),
  };
  const preview = useMutation({
    mutationFn: () => take(api.POST("/api/v1/exceptions/bulk/preview", { body: request })),
  });
  const apply = useMutation({
    mutationFn: (shown: BulkPreview) =>
      take(api.POST("/api/v1/exceptions/bulk", { body: { ...request, token: shown.token } })),
    onSuccess: (result) => {
      void client.invalidateQueries({ queryKey: ["exceptions"] });
      say(
        `${plural(result.changed, "exception")} changed`,
        result.awaiting_second_person > 0
          ? `${count(result.awaiting_second_person)} of them wait for a second person.`
          : undefined,
      );
      close();
    },
  });
  const edit =
    <T,>(set: (value: T) => void) =>
    (value: T) => {
      set(value);
      preview.reset();
      apply.reset();
    };
  const close = () => {
    preview.reset();
    apply.reset();
    onClose();
  };
  const shown = preview.data;
  const error = preview.error ?? apply.error;
  return (
    <Dialog
      open={open}
      onClose={close}
      title="Act on all that the filters find"
      foot={
        <>
          <Button onClick={close}>Cancel</Button>
          {shown && shown.count > 0 ? (
            <Button kind="primary" busy={apply.isPending} onClick={() => apply.mutate(shown)}>
              {LABELS[action]} {count(shown.count)}
            </Button>
          ) : (
            <Button kind="primary" busy={preview.isPending} onClick={() => preview.mutate()}>
              Preview
            </Button>
          )}
        </>
      }
    >
      <div className={s.form}>
        <Field label="Action">
          <Select value={action} onChange={(event) => edit(setAction)(event.target.value as BulkAction)}>
            {(Object.keys(LABELS) as BulkAction[]).map((each) => (
              <option key={each} value={each}>
                {LABELS[each]}
              </option>
            ))}
          </Select>
        </Field>
        {action === "assign" && (
          <Field label="To">
            <Select value={assignee} onChange={(event) => edit(setAssignee)(event.target.value)}>
              <option value={me.username}>me</option>
              {(people.data ?? [])
                .filter((person) => person.username !== me.username)
                .map((person) => (
                  <option key={person.username} value={person.username}>
                    {person.name || person.username}
                  </option>
                ))}
            </Select>
          </Field>
        )}
        {action === "resolve" && (
          <Field label="Reason">
            <Select value={reason} onChange={(event) => edit(setReason)(event.target.value as GivenReason)}>
              {GIVEN_REASONS.map((code) => (
                <option key={code} value={code}>
                  {REASONS[code]}
                </option>
              ))}
            </Select>
          </Field>
        )}
        {kinds.length > 0 && (
          <label className={s.check}>
            <input type="checkbox" checked={only} onChange={(event) => edit(setOnly)(event.target.checked)} />
            Only exceptions that show nothing but {kinds.map((kind) => BREAKS[kind].label).join(" or ")}
          </label>
        )}
        <Field label="Note">
          <Area
            value={note}
            maxLength={2000}
            rows={2}
            onChange={(event) => edit(setNote)(event.target.value)}
          />
        </Field>
        {error && (
          <FailedLine
            error={error}
            retry={() => {
              apply.reset(); // the set has changed or the answer got lost: look again before the deed
              preview.mutate();
            }}
          />
        )}
        {shown && <Preview preview={shown} />}
      </div>
    </Dialog>
  );
}

function Preview({ preview }: { preview: BulkPreview }) {
  if (preview.count === 0) return <p className={s.preview}>Nothing that this action could change.</p>;
  return (
    <div className={s.preview} role="status">
      <p>
        <strong>{plural(preview.count, "exception")}</strong>
        {preview.capped && ", the first of more: do it again for the rest"}
        {preview.second_person > 0 &&
          `, ${count(preview.second_person)} of them for a second person to approve`}
      </p>
      <p>{preview.kinds.map((each) => `${BREAKS[each.kind].label} ${count(each.count)}`).join(", ")}</p>
      <ul className={s.sums}>
        {preview.at_risk.map((each) => (
          <li key={each.currency}>
            <Sum minor={each.amount_minor} currency={each.currency} />
          </li>
        ))}
      </ul>
    </div>
  );
}
