/** Errors of the API as the console knows them. */

import type { Problem } from "./types";

/** An answer of `application/problem+json`, or what stands for it when the service did not answer at all. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly kind: string;
  readonly requestId: string;
  readonly fields: readonly { where: string; problem: string }[];

  constructor(problem: Partial<Problem> & { status: number }) {
    super(problem.detail || problem.title || `The service answered ${problem.status}.`);
    this.name = "ApiProblem";
    this.status = problem.status;
    this.kind = (problem.type ?? "").split("/").pop() ?? "";
    this.requestId = problem.request_id ?? "";
    this.fields = problem.errors ?? [];
  }

  /** May pass by itself: no answer, not ready, too many requests. */
  get passing(): boolean {
    return [0, 429, 502, 503, 504].includes(this.status);
  }

  /** Somebody else changed it first. */
  get stale(): boolean {
    return this.status === 409;
  }
}

/** What went wrong, in a sentence for the screen. */
export function explain(error: unknown): { title: string; detail: string; requestId: string } {
  if (error instanceof ApiProblem) {
    const titles: Record<number, string> = {
      0: "The service does not answer",
      401: "You are not signed in",
      403: "Your role does not allow this",
      404: "There is no such thing",
      409: "Somebody was faster",
      422: "The request is not valid",
      429: "Too many requests",
      503: "The service is not ready",
    };
    const fields = error.fields.map((field) => `${field.where}: ${field.problem}`).join("; ");
    return {
      title: titles[error.status] ?? "The service reported an error",
      detail: fields || error.message,
      requestId: error.requestId,
    };
  }
  return {
    title: "Something went wrong",
    detail: error instanceof Error ? error.message : String(error),
    requestId: "",
  };
}
