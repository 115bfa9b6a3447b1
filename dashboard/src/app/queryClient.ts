import { QueryClient } from "@tanstack/react-query";
import { ApiProblem } from "@/api/problem";

const RETRIES_MAX = 3;

/** Retries what may pass by itself (no answer, not ready, too many); never what will be refused again. */
function retry(failures: number, error: Error): boolean {
  if (failures >= RETRIES_MAX) return false;
  return !(error instanceof ApiProblem) || error.passing;
}

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: { retry, staleTime: 2_000, gcTime: 120_000, networkMode: "always" },
    mutations: { retry: false, networkMode: "always" },
  },
});
