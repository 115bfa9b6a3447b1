import { QueryClientProvider, useQuery } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { useSyncExternalStore } from "react";
import { queries } from "@/api/queries";
import { session } from "@/auth/session";
import { Failed } from "@/ui/States";
import { Toasts } from "@/ui/Toasts";
import { Front } from "./Front";
import { queryClient } from "./queryClient";
import { router } from "./router";
import { SessionEnded } from "./SessionEnded";

/** The whole console, by the state of the session. */
export function App() {
  const state = useSyncExternalStore(session.subscribe, session.current);
  if (state === "signed_out") return <Front />;
  return (
    <QueryClientProvider client={queryClient}>
      <SignedIn />
      <SessionEnded open={state === "ended"} />
      <Toasts />
    </QueryClientProvider>
  );
}

/** Waits for the role before anything is drawn, so that nothing flickers away. */
function SignedIn() {
  const me = useQuery(queries.me());
  if (me.isError && !me.data) return <Failed error={me.error} retry={() => void me.refetch()} />;
  if (!me.data) return null;
  return <RouterProvider router={router} />;
}
