// Inline icons, 20 px, drawn in the text's colour. All decorative: the control beside them has the name.
import type { ReactNode } from 'react';

function icon(paths: ReactNode) {
  return function Icon() {
    return (
      <svg className="icon" viewBox="0 0 20 20" width="20" height="20" fill="none" stroke="currentColor" strokeWidth="1.6"
        strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">{paths}</svg>
    );
  };
}

export const Logo = icon(<path d="M2 15.5a8 8 0 0 1 16 0zM10 15.5v-8M10 15.5 4.6 9.9M10 15.5l5.4-5.6" />);
export const Back = icon(<path d="M12 4.5 6.5 10l5.5 5.5" />);
export const Next = icon(<path d="M8 4.5 13.5 10 8 15.5" />);
export const Expand = icon(<path d="M3.5 7.5v-4h4M12.5 3.5h4v4M16.5 12.5v4h-4M7.5 16.5h-4v-4" />);
export const Shrink = icon(<path d="M7.5 3.5v4h-4M16.5 7.5h-4v-4M12.5 16.5v-4h4M3.5 12.5h4v4" />);
export const Float = icon(<><rect x="2.5" y="4" width="15" height="12" rx="2" /><rect x="9.5" y="9.5" width="6" height="4.5" rx="1" fill="currentColor" stroke="none" /></>);
export const Snap = icon(<><path d="M3 6.5h3l1.3-2h5.4l1.3 2h3v9.5H3z" /><circle cx="10" cy="11" r="2.8" /></>);
export const Restart = icon(<path d="M15.8 7.2A6.5 6.5 0 1 0 16.5 10M16.5 3.5v4h-4" />);
export const Help = icon(<><circle cx="10" cy="10" r="7.5" /><path d="M7.8 7.8a2.3 2.3 0 1 1 3.4 2c-.8.5-1.2.9-1.2 1.8M10 14.3v.1" /></>);
export const Sun = icon(<><circle cx="10" cy="10" r="3.2" /><path d="M10 2v1.8M10 16.2V18M2 10h1.8M16.2 10H18M4.3 4.3l1.3 1.3M14.4 14.4l1.3 1.3M4.3 15.7l1.3-1.3M14.4 5.6l1.3-1.3" /></>);
export const Moon = icon(<path d="M16.5 12A7 7 0 0 1 8 3.5a7 7 0 1 0 8.5 8.5z" />);
export const Auto = icon(<><circle cx="10" cy="10" r="7" /><path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor" stroke="none" /></>);
export const Copy = icon(<><rect x="7" y="7" width="9.5" height="9.5" rx="2" /><path d="M13 4.5A1.5 1.5 0 0 0 11.5 3.5H5A1.5 1.5 0 0 0 3.5 5v6.5A1.5 1.5 0 0 0 4.5 13" /></>);
export const Check = icon(<path d="m4 10.5 4 4 8-9" />);
export const Cross = icon(<path d="m5 5 10 10M15 5 5 15" />);
export const Warning = icon(<path d="M10 3 2.5 16.5h15zM10 8.2v3.6M10 14.2v.1" />);
export const CameraOff = icon(<path d="M3 3l14 14M8.2 4.5h4.5l1.3 2h3v8.7M14.5 16H3V6.5h2.8" />);
export const Plug = icon(<path d="M7 2.5v4M13 2.5v4M5 6.5h10v3a5 5 0 0 1-10 0zM10 14.5v3" />);
export const Film = icon(<><rect x="3" y="4" width="14" height="12" rx="2" /><path d="m8.5 7.5 4 2.5-4 2.5z" fill="currentColor" stroke="none" /></>);
export const Printer = icon(<><path d="M3.5 16.5v-13h13v13zM3.5 6.5h13M10 6.5v3M8.3 9.5h3.4M6.5 14h7" /></>);
export const Pause = icon(<path d="M7 4.5v11M13 4.5v11" />);
export const Play = icon(<path d="m6.5 4 9 6-9 6z" />);
export const Stop = icon(<rect x="5" y="5" width="10" height="10" rx="1.5" />);
export const Bulb = icon(<path d="M7.5 14.5c0-2-2.5-3-2.5-6a5 5 0 0 1 10 0c0 3-2.5 4-2.5 6zM8 17.5h4" />);
export const Pen = icon(<path d="M3.5 16.5v-3l10-10 3 3-10 10zM11.5 5.5l3 3" />);
export const Bin = icon(<path d="M3.5 5.5h13M8 5.5v-2h4v2M5.5 5.5l.7 11h7.6l.7-11M8.3 8.5v5M11.7 8.5v5" />);
export const Bell = icon(<path d="M4 14.5h12c-1-1-1.5-2-1.5-5a4.5 4.5 0 0 0-9 0c0 3-.5 4-1.5 5zM8.5 17a1.6 1.6 0 0 0 3 0" />);
export const Plus = icon(<path d="M10 4v12M4 10h12" />);
export const Person = icon(<><circle cx="10" cy="7" r="3.3" /><path d="M3.5 17a6.5 6.5 0 0 1 13 0" /></>);
