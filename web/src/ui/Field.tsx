// One line of a form: its label, and below it what is wrong, or a hint.
import { type HTMLInputAutoCompleteAttribute, useId } from 'react';

interface Properties {
  label: string;
  value: string;
  onChange: (value: string) => void;
  error?: string | undefined;
  placeholder?: string;
  hint?: string;
  /** No words that a dictionary knows. */
  plain?: boolean;
  /** `code`: in letters that are told apart. */
  kind?: 'text' | 'code' | 'password';
  complete?: HTMLInputAutoCompleteAttribute;
}

export function Field({ label, value, onChange, error, placeholder, hint, plain = false, kind = 'text', complete = 'off' }: Properties) {
  const id = useId();
  const told = error ?? hint;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} type={kind === 'password' ? 'password' : 'text'} className={kind === 'code' ? 'code' : undefined} value={value} placeholder={placeholder}
        autoComplete={complete} spellCheck={!plain} autoCapitalize={plain ? 'none' : 'sentences'} aria-invalid={error !== undefined}
        aria-describedby={told === undefined ? undefined : `${id}-told`} onChange={(event) => onChange(event.target.value)} />
      {told !== undefined && <p id={`${id}-told`} className={error === undefined ? 'hint' : 'problem'}>{told}</p>}
    </div>
  );
}
