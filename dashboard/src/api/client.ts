/**
 * The typed client: adds the token, tries once more with a new one after a 401, and turns errors into ApiProblem. Once the
 * session has ended nothing is sent any more: it would only be refused.
 */

import createClient, { type Middleware } from "openapi-fetch";
import { session } from "@/auth/session";
import { fillPath } from "./paths";
import { ApiProblem } from "./problem";
import type { paths } from "./schema";
import type { Problem } from "./types";

const withToken: Middleware = {
  async onRequest({ request }) {
    const token = await session.token();
    if (token) request.headers.set("authorization", `Bearer ${token}`);
    return request;
  },
};

/** fetch that repeats a refused request once, with a new token. */
async function patientFetch(request: Request): Promise<Response> {
  if (session.current() === "ended") {
    throw new ApiProblem({ status: 401, detail: "The session has ended." });
  }
  const again = request.clone();
  let response: Response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiProblem({ status: 0, detail: "No answer. It may be restarting; this page keeps trying." });
  }
  if (response.status !== 401) return response;
  if (!(await session.renew(-1))) return response;
  again.headers.set("authorization", `Bearer ${session.currentToken() ?? ""}`);
  const second = await fetch(again);
  if (second.status === 401) session.end();
  return second;
}

export const api = createClient<paths>({
  baseUrl: window.location.origin,
  fetch: patientFetch,
  pathSerializer: fillPath,
  querySerializer: { array: { style: "form", explode: true } },
});
api.use(withToken);

/** The data of an answer; throws its problem. */
export async function take<T>(
  answer: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<NonNullable<T>> {
  const { data, error, response } = await answer;
  if (data !== undefined && data !== null) return data;
  const problem = (typeof error === "object" && error !== null ? error : {}) as Partial<Problem>;
  throw new ApiProblem({ ...problem, status: response.status });
}

/** Downloads a file that needs the token: streams it into a blob, then hands it to the browser. */
export async function download(path: string, query: URLSearchParams, filename: string): Promise<void> {
  const token = await session.token();
  const headers = { authorization: `Bearer ${token ?? ""}` };
  const response = await patientFetch(new Request(`${window.location.origin}${path}?${query}`, { headers }));
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
    throw new ApiProblem({ ...problem, status: response.status });
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
