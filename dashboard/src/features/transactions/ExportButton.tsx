import { useState } from "react";
import { download } from "@/api/client";
import { Button } from "@/ui/Button";
import { sayFailed } from "@/ui/Toasts";
import { type TransactionSearch, transactionQuery } from "./search";

/** All rows that the filters find, as CSV. */
export function ExportButton({ search }: { search: TransactionSearch }) {
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    const params = new URLSearchParams();
    for (const [key, value] of Object.entries(transactionQuery(search))) {
      if (key === "sort") continue;
      for (const each of Array.isArray(value) ? value : [value]) params.append(key, String(each));
    }
    try {
      await download("/api/v1/transactions/export", params, "transactions.csv");
    } catch (error) {
      sayFailed(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Button icon="download" busy={busy} onClick={() => void run()}>
      Export
    </Button>
  );
}
