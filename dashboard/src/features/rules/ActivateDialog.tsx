import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "@/api/client";
import type { RuleSet } from "@/api/types";
import { fineSpan, fromLocalInput } from "@/lib/time";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Field, Input } from "@/ui/Field";
import { FailedLine } from "@/ui/States";
import { say } from "@/ui/Toasts";

/** Puts a draft in force from a point in the log on. */
export function ActivateDialog({
  set,
  leadMs,
  open,
  onClose,
}: {
  set: RuleSet;
  leadMs: number;
  open: boolean;
  onClose: () => void;
}) {
  const client = useQueryClient();
  const [from, setFrom] = useState("");
  const activate = useMutation({
    mutationFn: () =>
      take(
        api.POST("/api/v1/rules/{version}/activate", {
          params: { path: { version: set.version } },
          body: { effective_from: fromLocalInput(from) ?? null },
        }),
      ),
    onSuccess: () => {
      say(`Version ${set.version} is activated`, "The matchers take it up without a restart.");
      void client.invalidateQueries({ queryKey: ["rules"] });
      onClose();
    },
  });
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title={`Activate version ${set.version}`}
      description={`Transactions that arrive from that moment on are judged by it. Left empty: in ${fineSpan(leadMs)}.`}
      foot={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" busy={activate.isPending} onClick={() => activate.mutate()}>
            Activate
          </Button>
        </>
      }
    >
      <div style={{ display: "grid", gap: 12 }}>
        <Field label="In force from">
          <Input type="datetime-local" value={from} onChange={(event) => setFrom(event.target.value)} />
        </Field>
        {activate.isError && <FailedLine error={activate.error} retry={() => activate.mutate()} />}
      </div>
    </Dialog>
  );
}
