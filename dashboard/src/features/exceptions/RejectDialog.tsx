import { useState } from "react";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Area, Field } from "@/ui/Field";

/** Why a proposal is not approved. The one who proposed it reads this, and so does an auditor. */
export function RejectDialog({
  open,
  onClose,
  onReject,
  proposer,
  busy,
}: {
  open: boolean;
  onClose: () => void;
  onReject: (note: string) => void;
  proposer: string;
  busy: boolean;
}) {
  const [note, setNote] = useState("");
  const said = note.trim();
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title="Reject the proposal"
      description={`${proposer} is told why. The exception stays in review.`}
      foot={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            kind="danger"
            busy={busy}
            disabled={said === ""}
            onClick={() => said !== "" && onReject(said)}
          >
            Reject
          </Button>
        </>
      }
    >
      <Field label="Reason" hint="It is kept in the history">
        <Area value={note} maxLength={2000} onChange={(event) => setNote(event.target.value)} />
      </Field>
    </Dialog>
  );
}
