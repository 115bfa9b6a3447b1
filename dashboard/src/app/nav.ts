/** The screens, in the order of the rail, with the operation without which a screen is not shown. */

import type { OperationId } from "@/api/types";
import type { IconName } from "@/ui/Icon";

export interface Screen {
  to: "/" | "/live" | "/transactions" | "/exceptions" | "/rules" | "/dead-letters" | "/audit" | "/pipeline";
  label: string;
  icon: IconName;
  group: "Watch" | "Work" | "Govern";
  needs: OperationId;
  /** Pressed after `g`. */
  key: string;
}

export const SCREENS: readonly Screen[] = [
  { to: "/", label: "Overview", icon: "overview", group: "Watch", needs: "getSummary", key: "o" },
  { to: "/live", label: "Live", icon: "live", group: "Watch", needs: "listTransactions", key: "l" },
  { to: "/pipeline", label: "Pipeline", icon: "pipeline", group: "Watch", needs: "getPipeline", key: "p" },
  {
    to: "/exceptions",
    label: "Exceptions",
    icon: "exceptions",
    group: "Work",
    needs: "listExceptions",
    key: "e",
  },
  {
    to: "/transactions",
    label: "Transactions",
    icon: "transactions",
    group: "Work",
    needs: "listTransactions",
    key: "t",
  },
  { to: "/rules", label: "Rules", icon: "rules", group: "Govern", needs: "listRuleSets", key: "r" },
  {
    to: "/dead-letters",
    label: "Dead letters",
    icon: "deadLetters",
    group: "Govern",
    needs: "listDeadLetters",
    key: "d",
  },
  { to: "/audit", label: "Audit", icon: "audit", group: "Govern", needs: "searchAudit", key: "a" },
];
