import { session } from "@/auth/session";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";

/** The session is over, the screen is still there: signing in again comes back to this very view. */
export function SessionEnded({ open }: { open: boolean }) {
  return (
    <Dialog
      firm
      open={open}
      onClose={() => undefined}
      title="Your session has ended"
      description="Nothing is lost: after signing in you come back to this view. What was not yet sent has to be entered again."
      foot={
        <Button kind="primary" onClick={() => void session.signIn()}>
          Sign in again
        </Button>
      }
    />
  );
}
