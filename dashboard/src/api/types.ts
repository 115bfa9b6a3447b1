/** Names for the shapes that the generated client describes. */

import type { components, operations } from "./schema";

type Shapes = components["schemas"];

export type TransactionRow = Shapes["TransactionRow"];
export type TransactionDetail = Shapes["TransactionDetail"];
export type Leg = Shapes["Leg"];
export type CellDifference = Shapes["CellDifference"];
export type RawEvent = Shapes["RawEvent"];
export type Revision = Shapes["Revision"];
export type ExceptionRow = Shapes["ExceptionRow"];
export type ExceptionDetail = Shapes["ExceptionDetail"];
export type ExceptionBuckets = Shapes["ExceptionBuckets"];
export type ExceptionAction = Shapes["ExceptionAction"];
export type ExceptionFilter = Shapes["ExceptionFilter"];
export type BulkRequest = Shapes["BulkRequest"];
export type BulkPreview = Shapes["BulkPreview"];
export type Comment = Shapes["Comment"];
export type Summary = Shapes["Summary"];
export type Series = Shapes["Series"];
export type SourceState = Shapes["SourceState"];
export type Pipeline = Shapes["Pipeline"];
export type Incident = Shapes["Incident"];
export type Me = Shapes["Me"];
export type Person = Shapes["Person"];
export type Money = Shapes["Money"];
export type Count = Shapes["Count"];
export type AmountOrder = Shapes["AmountOrder"];

/** Rules as the service gives them: every field is there. Those it takes may leave out what has a default. */
export type RulesBody = Required<Omit<Shapes["RulesBody"], "severities">> & {
  severities: Required<Shapes["Severities"]>;
};
export type RuleSet = Omit<Shapes["RuleSetView"], "body"> & { body: RulesBody };
export type BacktestReport = Shapes["BacktestReport"];
export type DeadLetter = Shapes["DeadLetterRow"];
export type DeadLetterDetail = Shapes["DeadLetterDetail"];
export type AuditRow = Shapes["AuditRow"];
export type ChainState = Shapes["ChainState"];
export type Problem = Shapes["Problem"];
export type DashboardConfig = Shapes["DashboardConfig"];

export type Verdict = TransactionRow["verdict"];
export type BreakName = TransactionRow["breaks"][number];
export type Severity = ExceptionRow["severity"];
export type ExceptionState = ExceptionRow["state"];
export type ReasonCode = NonNullable<ExceptionRow["reason_code"]>;
export type GivenReason = NonNullable<ExceptionAction["reason_code"]>;
export type ActionName = ExceptionAction["action"];
export type Role = Me["role"];
export type Bucket = NonNullable<ExceptionFilter["bucket"]>;

export type TransactionQuery = NonNullable<operations["listTransactions"]["parameters"]["query"]>;
export type TransactionSort = NonNullable<TransactionQuery["sort"]>;
export type ExceptionQuery = NonNullable<operations["listExceptions"]["parameters"]["query"]>;
export type DeadLetterQuery = NonNullable<operations["listDeadLetters"]["parameters"]["query"]>;
export type AuditQuery = NonNullable<operations["searchAudit"]["parameters"]["query"]>;
export type OperationId = keyof operations;

/** A result as the live feed sends it: a row without what belongs to the exceptions desk. */
export type LiveResult = Omit<TransactionRow, "exception_state" | "assignee">;
