/** Who is signed in and what they may do, as the service says. */

import { useSuspenseQuery } from "@tanstack/react-query";
import { queries } from "@/api/queries";
import type { Me, OperationId } from "@/api/types";

export function useMe(): Me {
  return useSuspenseQuery(queries.me()).data;
}

/** Whether the role may call an operation; what it may not do is not shown. */
export function useMay(): (operation: OperationId) => boolean {
  const { allowed } = useMe();
  return (operation) => allowed.includes(operation);
}
