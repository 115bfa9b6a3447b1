import { session } from "@/auth/session";
import { Button } from "@/ui/Button";
import s from "./Front.module.css";

/** Where one lands after signing out. */
export function Front() {
  return (
    <main className={s.front}>
      <div className={s.box}>
        <svg width="40" height="40" viewBox="0 0 20 20" aria-hidden="true" className={s.mark}>
          <path d="M2 4.5h11M2 10h16M2 15.5h16" stroke="currentColor" strokeWidth="2.6" />
          <path d="M15.4 4.5h2.6" stroke="var(--bad-mark)" strokeWidth="2.6" />
        </svg>
        <h1>You are signed out</h1>
        <p className="quiet">Of this console and of every other application of this sign-in.</p>
        <Button kind="primary" onClick={() => void session.signIn(new URL("/", window.location.origin).href)}>
          Sign in
        </Button>
      </div>
    </main>
  );
}

/** The service could not even say where to sign in. */
export function Unreachable({ error }: { error: unknown }) {
  return (
    <main className={s.front}>
      <div className={s.box}>
        <h1>The service does not answer</h1>
        <p className="quiet">{error instanceof Error ? error.message : "It may be starting."}</p>
        <Button kind="primary" icon="refresh" onClick={() => window.location.reload()}>
          Try again
        </Button>
      </div>
    </main>
  );
}
