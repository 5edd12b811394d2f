// Files beside messages, for both ends of a conversation: how one is handed in, and how large it is in words.

export interface Kept { id: string; type: string; size: number; w?: number; h?: number; name?: string }

// handIn gives a file to the server, which judges it by its bytes and draws pictures anew. What it keeps, or what to tell the person ("" when there is nothing
// better to say than to try again).
export async function handIn(url: string, file: Blob, headers: Record<string, string> = {}): Promise<Kept | string> {
  const form = new FormData();
  form.append("file", file, (file as File).name || "");
  let r: Response;
  try { r = await fetch(url, { method: "POST", credentials: "same-origin", headers, body: form }); } catch { return ""; }
  let answer: Partial<Kept> & { say?: string } = {};
  try { answer = await r.json(); } catch { /* no word with it */ }
  return r.ok && answer.id ? answer as Kept : answer.say || "";
}

export const picture = (type: string) => type.startsWith("image/");

// inWords is 12 KB, 1.4 MB: as the server's pages say it.
export function inWords(bytes: number): string {
  if (bytes < 1000 * 1000) return Math.max(1, Math.round(bytes / 1000)) + " KB";
  return (bytes / 1e6).toFixed(1) + " MB";
}
