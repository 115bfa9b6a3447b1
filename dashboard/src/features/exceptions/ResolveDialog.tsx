import { useState } from "react";
import type { GivenReason } from "@/api/types";
import { GIVEN_REASONS, REASONS } from "@/lib/labels";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Area, Field, Select } from "@/ui/Field";

/** Why an exception is settled. Above the threshold this is a proposal. */
export function ResolveDialog({
  open,
  onClose,
  onResolve,
  needsSecond,
  busy,
}: {
  open: boolean;
  onClose: () => void;
  onResolve: (reason: GivenReason, note: string) => void;
  needsSecond: boolean;
  busy: boolean;
}) {
  const [reason, setReason] = useState<GivenReason | "">("");
  const [note, setNote] = useState("");
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title={needsSecond ? "Propose to resolve" : "Resolve"}
      description={
        needsSecond ? "The amount is above the four-eyes threshold: a second person must approve." : undefined
      }
      foot={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            kind="primary"
            busy={busy}
            disabled={reason === ""}
            onClick={() => reason !== "" && onResolve(reason, note.trim())}
          >
            {needsSecond ? "Propose" : "Resolve"}
          </Button>
        </>
      }
    >
      <div style={{ display: "grid", gap: 12 }}>
        <Field label="Reason">
          <Select value={reason} onChange={(event) => setReason(event.target.value as GivenReason)}>
            <option value="" disabled>
              Choose a reason
            </option>
            {GIVEN_REASONS.map((code) => (
              <option key={code} value={code}>
                {REASONS[code]}
              </option>
            ))}
          </Select>
        </Field>
        <Field label="Note" hint="What an auditor will want to know">
          <Area value={note} maxLength={2000} onChange={(event) => setNote(event.target.value)} />
        </Field>
      </div>
    </Dialog>
  );
}
