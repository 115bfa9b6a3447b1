import { Toast } from "@base-ui/react/toast";
import { explain } from "@/api/problem";
import { IconButton } from "./Button";
import s from "./Toasts.module.css";

/** Short news at the lower edge: what was done, or why it was not. */
export const toasts = Toast.createToastManager();

export function say(title: string, description?: string): void {
  toasts.add({ title, ...(description ? { description } : {}), timeout: 5_000 });
}

export function sayFailed(error: unknown): void {
  const { title, detail } = explain(error);
  toasts.add({ title, description: detail, type: "bad", priority: "high", timeout: 9_000 });
}

export function Toasts() {
  return (
    <Toast.Provider toastManager={toasts} limit={3}>
      <Toast.Portal>
        <Toast.Viewport className={s.viewport}>
          <List />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  );
}

function List() {
  const { toasts: shown } = Toast.useToastManager();
  return shown.map((toast) => (
    <Toast.Root key={toast.id} toast={toast} className={s.toast} data-toast="">
      <div>
        <Toast.Title className={s.title} />
        <Toast.Description className={s.text} />
      </div>
      <Toast.Close render={<IconButton icon="close" label="Dismiss" />} />
    </Toast.Root>
  ));
}
