// What a person asks of the server.
import { tell } from './ask.ts';

export const restartCamera = (id: string): Promise<string | null> => tell('POST', `api/cameras/${encodeURIComponent(id)}/restart`);
export const retryOutput = (id: string): Promise<string | null> => tell('POST', `api/outputs/${encodeURIComponent(id)}/retry`);
