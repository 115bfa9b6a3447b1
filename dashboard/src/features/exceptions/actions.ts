/** Changes to exceptions: one step each, with the version it is based on. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, take } from "@/api/client";
import { ApiProblem } from "@/api/problem";
import { queries } from "@/api/queries";
import type { ExceptionAction, ExceptionDetail } from "@/api/types";
import { ACTIONS } from "@/lib/labels";
import { say, sayFailed } from "@/ui/Toasts";

const DONE: Partial<Record<ExceptionAction["action"], string>> = {
  assign: "Assigned",
  unassign: "Given back",
  start_review: "In review",
  approve: "Approved",
  reject: "Rejected",
  reopen: "Reopened",
};

export function useAct(txnId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: ExceptionAction) =>
      take(api.POST("/api/v1/exceptions/{txn_id}/actions", { params: { path: { txn_id: txnId } }, body })),
    onSuccess: (detail: ExceptionDetail, body) => {
      client.setQueryData(queries.exception(txnId).queryKey, detail);
      const waits = body.action === "resolve" && detail.exception.state !== "resolved";
      say(
        waits ? "Proposed: a second person must approve" : (DONE[body.action] ?? `${ACTIONS[body.action]}d`),
      );
      refresh(client, txnId);
    },
    onError: (error) => {
      sayFailed(error);
      if (error instanceof ApiProblem && error.stale) refresh(client, txnId);
    },
  });
}

export function useComment(txnId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (text: string) =>
      take(
        api.POST("/api/v1/exceptions/{txn_id}/comments", {
          params: { path: { txn_id: txnId } },
          body: { text },
        }),
      ),
    onSuccess: () => refresh(client, txnId),
    onError: sayFailed,
  });
}

function refresh(client: ReturnType<typeof useQueryClient>, txnId: string): void {
  void client.invalidateQueries({ queryKey: ["exception", txnId] });
  void client.invalidateQueries({ queryKey: ["exceptions"] });
  void client.invalidateQueries({ queryKey: ["transaction", txnId] });
}
