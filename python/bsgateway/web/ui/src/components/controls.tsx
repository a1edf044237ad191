import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

export type Choice = readonly [value: string, label: string];

/** A few choices side by side, of which one holds; a group of radio buttons. */
export function Segmented(props: {
  label: string;
  choices: readonly Choice[];
  value: string;
  onChange: (value: string) => void;
}) {
  const name = useId();
  return (
    <fieldset class="segmented">
      <legend class="visually-hidden">{props.label}</legend>
      {props.choices.map(([value, label]) => (
        <label key={value}>
          <input
            type="radio"
            name={name}
            value={value}
            checked={value === props.value}
            onChange={() => props.onChange(value)}
          />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** A list to choose one from, with its label. */
export function Select(props: {
  label: string;
  choices: readonly Choice[];
  value: string;
  onChange: (value: string) => void;
  labelHidden?: boolean;
}) {
  const id = useId();
  return (
    <span class="field">
      <label for={id} class={props.labelHidden ? "visually-hidden" : undefined}>
        {props.label}
      </label>
      <select id={id} value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.choices.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </span>
  );
}

/** A button that is on or off. */
export function Toggle(props: {
  pressed: boolean;
  onChange: (pressed: boolean) => void;
  title?: string;
  children: ComponentChildren;
}) {
  return (
    <button
      type="button"
      class="toggle"
      aria-pressed={props.pressed}
      title={props.title}
      onClick={() => props.onChange(!props.pressed)}
    >
      {props.children}
    </button>
  );
}
