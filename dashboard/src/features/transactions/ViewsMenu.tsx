import { type FormEvent, useId, useState } from "react";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Field, Input } from "@/ui/Field";
import { Menu, MenuItem, MenuLine } from "@/ui/Menu";
import { say } from "@/ui/Toasts";
import type { TransactionSearch } from "./search";
import { BUILT_IN, forgetView, savedViews, saveView } from "./views";

export function ViewsMenu({
  search,
  open,
}: {
  search: TransactionSearch;
  open: (search: TransactionSearch) => void;
}) {
  const [views, setViews] = useState(savedViews);
  const [naming, setNaming] = useState(false);
  const [name, setName] = useState("");
  const form = useId();
  const save = (event: FormEvent) => {
    event.preventDefault();
    if (name.trim() === "") return;
    setViews(saveView({ name: name.trim(), search }));
    setNaming(false);
    setName("");
    say("View saved", "It is kept in this browser.");
  };
  const replaces = views.some((view) => view.name === name.trim());
  return (
    <>
      <Menu trigger={<Button icon="bookmark">Views</Button>}>
        {BUILT_IN.map((view) => (
          <MenuItem key={view.name} onClick={() => open(view.search)}>
            {view.name}
          </MenuItem>
        ))}
        {views.length > 0 && <MenuLine />}
        {views.map((view) => (
          <MenuItem key={view.name} icon="bookmark" onClick={() => open(view.search)}>
            {view.name}
          </MenuItem>
        ))}
        <MenuLine />
        <MenuItem icon="plus" onClick={() => setNaming(true)}>
          Save this view
        </MenuItem>
        {views.map((view) => (
          <MenuItem key={view.name} icon="close" onClick={() => setViews(forgetView(view.name))}>
            Forget {view.name}
          </MenuItem>
        ))}
      </Menu>
      <Dialog
        open={naming}
        onClose={() => setNaming(false)}
        title="Save this view"
        description="Filters and order under a name, kept in this browser."
        foot={
          <>
            <Button onClick={() => setNaming(false)}>Cancel</Button>
            <Button kind="primary" type="submit" form={form} disabled={name.trim() === ""}>
              Save
            </Button>
          </>
        }
      >
        <form id={form} onSubmit={save}>
          <Field label="Name" hint={replaces && "Takes the place of the view of this name"}>
            <Input value={name} maxLength={60} onChange={(event) => setName(event.target.value)} />
          </Field>
        </form>
      </Dialog>
    </>
  );
}
